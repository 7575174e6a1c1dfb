"""Shows the log of the commands on the screen."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import absl.logging
from tqdm import tqdm

QUIET = ('absl', 'jax', 'orbax')


def show_log() -> None:
    """Shows jreid's own log and warnings as plain lines, and only errors of the libraries below it.

    Which backend JAX did not find, or that Orbax only reads, is no news.
    """
    plain = '%(message)s'
    logging.basicConfig(level=logging.WARNING, format=plain)
    for handler in logging.root.handlers:
        # Handlers that absl put there: its app's begins lines with a letter, a date and a thread,
        # and that of its log, which Orbax's import writes to, with INFO:jreid:.
        if handler is absl.logging.get_absl_handler() or type(handler) is logging.StreamHandler:
            handler.setFormatter(logging.Formatter(plain))
    logging.getLogger('jreid').setLevel(logging.INFO)
    _quiet(QUIET)
    _log_warnings()


def _log_warnings() -> None:
    """Shows warnings to the user, such as those of images left out, as lines of the log.

    Python's own form names a line of code, which a user of commands has no use for.
    """

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        of = '' if category is UserWarning else f'{category.__name__}: '
        logging.getLogger('jreid').warning('%s%s', of, message)

    warnings.showwarning = show
    warnings.simplefilter('default', UserWarning)


def _quiet(names: Sequence[str]) -> None:
    """Lets only errors of these libraries through."""
    if 'absl' in names:
        # Without it, absl gives its logger another level whenever it parses a flag.
        absl.logging.set_verbosity(absl.logging.ERROR)
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)


def show_training_log() -> None:
    """Shows jreid's log and warnings above the progress bar, each line with the time."""
    handler = _AboveProgressBar()
    handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
    log = logging.getLogger('jreid')
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    log.propagate = False
    # Which accelerators JAX did not find is no news, nor each file that Orbax touches.
    logging.getLogger('jax').setLevel(logging.WARNING)
    _quiet(('absl', 'orbax'))
    _log_warnings()


class _AboveProgressBar(logging.Handler):
    """Writes log lines that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def refuse(message: str) -> NoReturn:
    """Ends a command whose arguments are wrong with a line on the screen and the status 2."""
    print(message, file=sys.stderr)
    sys.exit(2)


def stop(message: str, number: int) -> NoReturn:
    """Ends the process at once after a signal, with a line on the screen and the status 128 + n.

    jaxlib crashes at Python's exit where Ctrl-C came while it compiled, so there is none.

    Args:
      number: of the signal.
    """
    print(message, file=sys.stderr)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(128 + number)
