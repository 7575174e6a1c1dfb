"""Keeps other processes from training in a run's folder."""

import contextlib
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

from jreid.files import check_place, remove

log = logging.getLogger('jreid')


@contextlib.contextmanager
def alone(workdir: pathlib.Path, *, active: bool = True) -> Iterator[None]:
    """Keeps other processes from training in a run's folder while the body runs.

    A file system without locks gives a warning only. Where the body fails before it kept a config
    in a folder that was empty or not there, nothing of the folder stays.

    Args:
      workdir: the run's folder.
      active: False on all hosts but the first, which share a folder with it.

    Raises:
      RuntimeError: another process trains there.
      NotADirectoryError: it, or a folder above it, is a file.
    """
    check_place(workdir / '.lock')
    try:
        import fcntl
    except ImportError:
        active = False
    if not active:
        yield
        return
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    was_empty = bool(made) or not any(workdir.iterdir())
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
        try:
            yield
        except BaseException:
            if was_empty and not (workdir / 'config.json').exists():
                for child in workdir.iterdir():
                    remove(child)
                for folder in made:
                    with contextlib.suppress(OSError):  # another run may have begun beside it
                        folder.rmdir()
            raise
