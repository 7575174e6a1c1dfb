"""The lock under which processes write to the user's cache once."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator

log = logging.getLogger('jreid')


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
