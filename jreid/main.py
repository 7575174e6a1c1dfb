"""`python -m jreid.main --config=configs/PAIR.py:VARIANT --workdir=DIR [--config.field=value ...]`: one training run."""

import logging
import pathlib
import sys
import warnings

import jax
from absl import app, flags
from ml_collections import config_flags
from tqdm import tqdm

# A config file imports `configs.base`; its folder's parent may not be on the path when the command runs elsewhere.
for _argument in sys.argv[1:]:
    if _argument.startswith('--config='):
        _file = pathlib.Path(_argument.removeprefix('--config=').rsplit(':', 1)[0]).absolute()
        sys.path.append(str(_file.parent.parent))

_CONFIG = config_flags.DEFINE_config_file('config', None, 'File of the config, with :VARIANT for an ablation or another system.', lock_config=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; runs/<pair>-<variant>-<seed> where none is given.')
_COORDINATOR = flags.DEFINE_string('coordinator', None, 'HOST:PORT of the first process, for training on several hosts.')
_PROCESSES = flags.DEFINE_integer('processes', None, 'Number of processes, with --coordinator.')
_PROCESS = flags.DEFINE_integer('process', None, 'Number of this process, with --coordinator.')


class _Lines(logging.Handler):
    """Log lines that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def main(argv: list[str]) -> None:
    """Parse nothing more, set up processes and the log, train."""
    if len(argv) > 1:
        raise app.UsageError(f'unexpected arguments {argv[1:]}; fields are set as --config.field=value')
    if _CONFIG.value is None:
        raise app.UsageError('--config=configs/PAIR.py is missing, e.g. --config=configs/demo.py')
    handler = _Lines()
    handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
    log = logging.getLogger('jreid')
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False
    logging.captureWarnings(True)
    logging.getLogger('py.warnings').addHandler(handler)
    warnings.simplefilter('default', UserWarning)
    if _COORDINATOR.value:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    from jreid.train import train

    config = _CONFIG.value
    pair = pathlib.Path(flags.FLAGS['config'].config_filename).stem if hasattr(flags.FLAGS['config'], 'config_filename') else 'run'
    workdir = _WORKDIR.value or f'runs/{pair}-{config.variant}-{config.seed}'
    log.info('devices: %s', ', '.join(f'{d.platform} {d.device_kind}' for d in jax.devices()))
    train(config, workdir)


if __name__ == '__main__':
    app.run(main)
