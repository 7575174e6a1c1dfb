"""`jreid train --config=PAIR:VARIANT --workdir=DIR [--config.FIELD=VALUE ...]`.

Trains a run, or continues it from its last checkpoint.
"""

import logging
import pathlib
import signal
import sys

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from jreid import configs
from jreid.commands import console, fields
from jreid.configs import variants
from jreid.engine import sharding

log = logging.getLogger('jreid')

_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    'Name or file of the config, with :VARIANT for an ablation or another system.',
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of the run; runs/<pair>-<variant>-<seed> by default.'
)
_TRACEBACK = flags.DEFINE_bool(
    'traceback', False, 'Shows where an error comes from, beside its message.'
)
_COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of the first process, for training on several hosts.'
)
_PROCESSES = flags.DEFINE_integer('processes', None, 'Number of processes, with --coordinator.')
_PROCESS = flags.DEFINE_integer('process', None, 'Number of this process, with --coordinator.')
_OPTIONS: dict[str, str] = {}
"""Options of loaders and backbones, which `parse` takes from the command line."""


def run(argv: list[str]) -> None:
    """Trains as the words of a command line say, the program's name first."""
    app.run(main, argv=argv, flags_parser=parse)


def main(argv: list[str]) -> None:
    """Trains once absl has parsed the flags.

    Args:
      argv: what is left of the command line, the program's name first.
    """
    if len(argv) > 1:
        console.refuse(
            f'unexpected arguments {" ".join(argv[1:])}; fields are set as --config.field=value'
        )
    if _CONFIG.value is None:
        console.refuse(
            '--config=PAIR is missing, e.g. --config=demo, or the path of a config file of your'
            ' own; jreid list shows the pairs and their variants'
        )
    console.show_training_log()
    if _COORDINATOR.value:
        if _PROCESSES.value is None or _PROCESS.value is None:
            console.refuse(
                '--coordinator needs --processes (how many) and --process (which one this is)'
            )
        sharding.connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    config = parsed_config()
    try:
        variants.check_variant(config.variant, config.method.name)
    except ValueError as error:
        console.refuse(str(error))
    # A wrong flag is answered before the seconds that this import takes.
    from jreid.training import stopping
    from jreid.training.loop import train

    workdir = _WORKDIR.value or f'runs/{_pair()}-{config.variant}-{config.seed}'
    log.info('devices: %s', ', '.join(f'{d.platform} {d.device_kind}' for d in jax.devices()))
    again = f'the same command with --workdir={workdir} goes on from'
    try:
        with stopping.on_sigterm(), sharding.stopping_together():
            train(config, workdir)
    except KeyboardInterrupt:
        console.stop(f'stopped; {again} the last checkpoint', signal.SIGINT)
    except stopping.Stopped as stopped:
        console.stop(f'{stopped}; {again} there', signal.SIGTERM)
    except (ArithmeticError, ImportError, OSError, RuntimeError, ValueError) as error:
        if _TRACEBACK.value:
            raise
        sys.exit(f'{type(error).__name__}: {error} (--traceback shows where)')


def parse(argv: list[str]) -> list[str]:
    """Parses the flags and returns the other arguments, as absl asks of a flags parser.

    Ends the program with a message of one line where the config file or the variant does not
    exist, or the config does not have a field.
    """
    try:
        argv = _with_config_path(argv)
    except FileNotFoundError as error:
        console.refuse(str(error))
    if message := _broken_config(argv):
        console.refuse(message)
    try:
        if any(f'config.{group}.' in word for word in argv for group in fields.OPTION_GROUPS):
            argv, options = fields.split_options(argv, _known_fields(argv))
            _OPTIONS.update(options)
        sys.argv = argv  # ml_collections looks for the config's fields there
        return flags.FLAGS(argv)
    except (AttributeError, KeyError, TypeError, ValueError, flags.Error) as error:
        known = _known_fields(argv) if _config_word(argv) else []
        plain = (
            fields.flag_message(error)
            if isinstance(error, flags.Error)
            else f'{type(error).__name__}: {error}'
        )
        console.refuse((known and fields.unknown_field(argv[1:], known)) or plain)


def parsed_config() -> ConfigDict:
    """Returns the config of the command line, once `parse` has read that."""
    fields.set_options(_CONFIG.value, _OPTIONS)
    return _CONFIG.value


def _pair() -> str:
    """Returns the name of the config file, which names the run's folder."""
    return pathlib.Path(getattr(flags.FLAGS['config'], 'config_filename', 'run')).stem


def _config_word(argv: list[str]) -> str:
    """Returns the value of `--config`, given as one word or as two; '' where it is missing."""
    for word, following in zip(argv, [*argv[1:], ''], strict=True):
        if word in ('--config', '-config'):
            return following
        if word.startswith(('--config=', '-config=')):
            return word.split('=', 1)[1]
    return ''


def _known_fields(argv: list[str]) -> list[str]:
    """Returns the fields of the config that the command line names."""
    return fields.field_names(flags.FLAGS['config'].parser.parse(_config_word(argv)))


def _with_config_path(argv: list[str]) -> list[str]:
    """Returns the command line with the path of the config file in the place of its name.

    Raises:
      FileNotFoundError: there is no such config.
    """
    word = _config_word(argv)
    if not word:
        return argv
    name, colon, variant = word.partition(':')
    file = configs.find(name)
    if file not in configs.files().values():
        # A config file may import its neighbours, e.g. `from mine.beside import OPTIONS`. They come
        # last: a folder `configs` or `data` of the user's hides no module of ours.
        sys.path.append(str(file.absolute().parent.parent))
    full_word = f'{file}{colon}{variant}'
    return [
        f'--config={full_word}'
        if one in (f'--config={word}', f'-config={word}')
        else full_word
        if before in ('--config', '-config') and one == word
        else one
        for before, one in zip(['', *argv], argv, strict=False)
    ]


def _broken_config(argv: list[str]) -> str:
    """Describes in one line why the config file makes no config of the variant.

    Returns:
      The message, or '' where it makes one, or where --traceback asks for all of the error.
    """
    if not _config_word(argv) or '--traceback' in argv:
        return ''
    try:
        flags.FLAGS['config'].parser.parse(_config_word(argv))
    except SyntaxError as error:
        return f'{_config_word(argv)} is no config file, which is Python: {error}'
    except (TypeError, ValueError) as error:
        return f'{str(error).strip().splitlines()[-1]} (--traceback shows where)'
    return ''
