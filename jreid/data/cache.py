"""The user's cache folder, and the lock under which processes write to it once."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator

log = logging.getLogger('jreid')


def cache_folder() -> pathlib.Path:
    """Returns $JREID_CACHE, or jreid's folder in the user's cache."""
    if folder := os.environ.get('JREID_CACHE'):
        return pathlib.Path(folder).expanduser()
    return (
        pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'jreid'
    )


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[bool]:
    """Holds a lock, so that the processes that share a disk make a pack once.

    Yields:
      Whether it is held: False where the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    with open(path, 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            log.warning(
                '%s lies on a file system without locks: processes that start together each do the'
                ' same work',
                path.parent,
            )
            yield False
            return
        yield True
