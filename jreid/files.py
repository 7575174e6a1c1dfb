"""Writes files and folders whole or not at all (the one atomic writer of every room), and names the
user's cache folder and the number of cores.
"""

import contextlib
import os
import pathlib
import shutil
import threading
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, and moves it to `path` when the body ends.

    The temporary path has the suffix of `path`, by which numpy, Pillow and matplotlib choose the
    format. Where the body raises an error, the temporary file is removed and `path` stays as it
    was.

    Args:
      path: a file that may exist; its folder is made where it is missing.

    Raises:
      OSError: the file cannot be written there; the message names `path`.
    """
    final = pathlib.Path(path)
    check_place(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _reworded(error, f'{final} cannot be written: its folder cannot be made') from error
    # Threads and processes may write the same file at the same time: each has a name of its own.
    mark = f'{os.getpid()}-{threading.get_ident()}'
    temporary = final.with_name(f'.{final.stem}.{mark}{final.suffix}')
    remove(temporary)  # what a killed process of the same number may have left
    try:
        yield temporary
        if final.is_dir() and not temporary.is_dir():
            raise IsADirectoryError(f'{final} is a folder; expected the name of a file to write')
        os.replace(temporary, final)
    except BaseException as error:
        remove(temporary)
        if isinstance(error, OSError) and str(error.filename) == str(temporary):
            # Nobody knows the temporary name.
            raise _reworded(error, f'{final} cannot be written') from error
        raise


def check_place(path: pathlib.Path) -> None:
    """Checks that the folders above a path are no files, before what takes long.

    Raises:
      NotADirectoryError: one of them is a file.
    """
    above = next((folder for folder in path.parents if os.path.lexists(folder)), None)
    if above is not None and not above.is_dir():
        raise NotADirectoryError(f'{path} cannot be written: {above} is no folder')


def check_target(path: str | os.PathLike[str], read: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Checks that a file can be written at a path and is none of those read, before the work.

    Args:
      path: the file to write; it may exist.
      read: files that the same command reads, which it must not write over; other words, such as
        folders and names of no file, are passed over.

    Raises:
      OSError: the path is a folder, or a folder above it is a file.
      ValueError: the path is one of the files that are read.
    """
    final = pathlib.Path(path)
    if final.is_dir():
        raise IsADirectoryError(f'{final} is a folder; expected the name of a file to write')
    check_place(final)
    if final.exists() and any(os.path.exists(name) and final.samefile(name) for name in read):
        raise ValueError(f'{final} is read and would be written over; give another name to write')


def _reworded(error: OSError, words: str) -> OSError:
    """Returns an error of the same type with other words and the system's reason."""
    return type(error)(f'{words} ({error.strerror})')


def remove(path: pathlib.Path) -> None:
    """Removes a file or a folder with all in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a whole text file, UTF-8, or leaves the old one."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def cache_folder() -> pathlib.Path:
    """Returns $JREID_CACHE, or jreid's folder in the user's cache."""
    if folder := os.environ.get('JREID_CACHE'):
        return pathlib.Path(folder).expanduser()
    return (
        pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'jreid'
    )


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
