"""Keeps other processes from training in a run's folder."""

import contextlib
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

log = logging.getLogger('jreid')


@contextlib.contextmanager
def alone(workdir: pathlib.Path, *, active: bool = True) -> Iterator[None]:
    """Keeps other processes from training in a run's folder while the body runs.

    A file system without locks gives a warning only.

    Args:
      workdir: the run's folder.
      active: False on all hosts but the first, which share a folder with it.

    Raises:
      RuntimeError: another process trains there.
    """
    try:
        import fcntl
    except ImportError:
        active = False
    if not active:
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / '.lock', 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RuntimeError(
                f'another process ({file.read().strip()}) trains in {workdir}; wait for it, or'
                ' choose another --workdir'
            ) from None
        except OSError:
            log.warning(
                '%s lies on a file system without locks: see to it that one process alone trains'
                ' there',
                workdir,
            )
        file.truncate(0)
        file.write(f'{os.getpid()} on {socket.gethostname()}')
        file.flush()
        yield
