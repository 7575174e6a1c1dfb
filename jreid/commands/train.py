"""`python -m jreid.main --config=configs/PAIR.py:VARIANT --workdir=DIR [--config.field=value
...]`: one training run.
"""

import difflib
import logging
import pathlib
import sys
import warnings

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags
from tqdm import tqdm

from jreid.commands import options
from jreid.engine import sharding


def _config_argument(argv: list[str]) -> str:
    """What `--config` is given, as one word or as two; '' where it is missing."""
    for argument, following in zip(argv, [*argv[1:], ''], strict=True):
        if argument in ('--config', '-config'):
            return following
        if argument.startswith(('--config=', '-config=')):
            return argument.split('=', 1)[1]
    return ''


# A config file imports `configs.base`; its folder's parent may not be on the path when the command
# runs elsewhere.
if _config_argument(sys.argv):
    sys.path.append(
        str(pathlib.Path(_config_argument(sys.argv).split(':', 1)[0]).absolute().parent.parent)
    )

_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    'File of the config, with :VARIANT for an ablation or another system.',
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of the run; runs/<pair>-<variant>-<seed> where none is given.'
)
_TRACEBACK = flags.DEFINE_bool(
    'traceback', False, 'Where an error comes from, beside what it says.'
)
_COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of the first process, for training on several hosts.'
)
_PROCESSES = flags.DEFINE_integer('processes', None, 'Number of processes, with --coordinator.')
_PROCESS = flags.DEFINE_integer('process', None, 'Number of this process, with --coordinator.')
_OPTIONS: dict[str, str] = {}  # of loaders and backbones, taken from the command line by `parsed`


class _Lines(logging.Handler):
    """Log lines that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def main(argv: list[str]) -> None:
    """Parse nothing more, set up processes and the log, train."""
    if len(argv) > 1:
        raise app.UsageError(
            f'unexpected arguments {argv[1:]}; fields are set as --config.field=value'
        )
    if _CONFIG.value is None:
        raise app.UsageError('--config=configs/PAIR.py is missing, e.g. --config=configs/demo.py')
    handler = _Lines()
    handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
    log = logging.getLogger('jreid')
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False
    # which accelerators it did not find is no news
    logging.getLogger('jax').setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger('py.warnings').addHandler(handler)
    logging.getLogger('py.warnings').propagate = False  # absl's root handler would print them again
    warnings.simplefilter('default', UserWarning)
    if _COORDINATOR.value:
        if _PROCESSES.value is None or _PROCESS.value is None:
            raise app.UsageError(
                '--coordinator needs --processes (how many) and --process (which one this is)'
            )
        sharding.connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    from jreid.train import train

    config = given_config()
    pair = (
        pathlib.Path(flags.FLAGS['config'].config_filename).stem
        if hasattr(flags.FLAGS['config'], 'config_filename')
        else 'run'
    )
    workdir = _WORKDIR.value or f'runs/{pair}-{config.variant}-{config.seed}'
    log.info('devices: %s', ', '.join(f'{d.platform} {d.device_kind}' for d in jax.devices()))
    try:
        with sharding.stopping_together():
            train(config, workdir)
    except KeyboardInterrupt:
        sys.exit(
            f'stopped; the same command with --workdir={workdir} goes on from the last checkpoint'
        )
    except (ArithmeticError, OSError, RuntimeError, ValueError) as error:
        if _TRACEBACK.value:
            raise
        sys.exit(f'{type(error).__name__}: {error} (--traceback shows where)')


def given_config() -> ConfigDict:
    """The config of the command line, once `parsed` has read that."""
    options.put(_CONFIG.value, _OPTIONS)
    return _CONFIG.value


def parsed(argv: list[str]) -> list[str]:
    """The arguments without flags; ends the program where the config file or the variant is
    missing, or a field is set that the config does not have.
    """
    if wrong := _missing_file(argv) or _broken_config(argv):
        sys.exit(wrong)
    try:
        if any(f'config.{group}.' in argument for argument in argv for group in options.GROUPS):
            argv, found = options.split(
                argv, fields(flags.FLAGS['config'].parser.parse(_config_argument(argv)))
            )
            _OPTIONS.update(found)
            sys.argv = argv  # where the config's own parser looks for its fields
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        sys.exit(_wrong_field(argv) or f'{type(error).__name__}: {error}')


def _missing_file(argv: list[str]) -> str:
    file = pathlib.Path(_config_argument(argv).split(':', 1)[0])
    if file.name in ('', '.') or file.is_file():
        return ''
    others = sorted(
        str(path)
        for path in file.parent.glob('*.py')
        if path.stem not in ('__init__', 'base', 'variants')
    )
    near = difflib.get_close_matches(str(file), others, 1)
    return (
        f'config file {file} does not exist'
        + (f' (did you mean {near[0]}?)' if near else '')
        + (f'; there are: {", ".join(others)}' if others else '')
    )


def _broken_config(argv: list[str]) -> str:
    """What the config file says of the variant, in a line; '' where it makes a config, or
    --traceback asks for all of it.
    """
    if not _config_argument(argv) or '--traceback' in argv:
        return ''
    try:
        flags.FLAGS['config'].parser.parse(_config_argument(argv))
    except (TypeError, ValueError) as error:
        return f'{str(error).strip().splitlines()[-1]} (--traceback shows where)'
    return ''


def _wrong_field(argv: list[str]) -> str:
    """What is wrong with the first `--config.FIELD` that the config does not have; '' where all
    are there.
    """
    return options.unknown(
        argv[1:], fields(flags.FLAGS['config'].parser.parse(_config_argument(argv)))
    )


def fields(config: ConfigDict, prefix: str = '') -> list[str]:
    """Names of all fields, those of inner groups with dots."""
    names = []
    for name, value in config.items():
        names += (
            fields(value, f'{prefix}{name}.')
            if isinstance(value, ConfigDict) and value
            else [f'{prefix}{name}']
        )
    return names


def run(argv: list[str]) -> None:
    """Runs the command with the words of a command line, the program's name first."""
    app.run(main, argv=argv, flags_parser=parsed)
