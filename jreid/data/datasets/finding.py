"""Finds the image files below a folder, and counts those that nothing could read."""

import dataclasses
import os
import re
import warnings
from collections.abc import Sequence

from jreid.data.index import BAD_FILES

IMAGE_SUFFIXES = frozenset(
    ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.webp', '.tif', '.tiff')
    + ('.ppm', '.pgm', '.pnm', '.gif', '.jp2', '.avif')
)
"""Suffixes, in small letters, of the files that are read as images."""

OTHER_SUFFIXES = frozenset(
    ('.heic', '.heif', '.jxl', '.cr2', '.cr3', '.nef', '.arw', '.dng', '.raw', '.psd', '.svg')
)
"""Suffixes of images that Pillow does not read."""

PASSED_OVER = frozenset({'__MACOSX', '@eaDir', '#recycle', 'lost+found', '$RECYCLE.BIN'})
"""Folders of file servers and archives, whose images are thumbnails and copies."""

_CONTROL = re.compile('[\x00-\x1f\x7f]')

UNSAFE = 'have control characters in their name'
MISSING = (
    'are links to nothing or no files; where DVC or git-annex keeps them, fetch them first'
    ' (dvc pull, git annex get)'
)
OTHER = 'are of a type that is not read; convert them to JPEG or PNG'
EMPTY = 'are empty files'


@dataclasses.dataclass(frozen=True)
class Found:
    """The images of a folder.

    Attributes:
      images: paths relative to the folder, sorted.
      bad: what is wrong -> relative paths of the images that cannot be used for that reason.
      folders: relative paths of the folders that hold nothing but files of other kinds, or nothing.
    """

    images: tuple[str, ...]
    bad: dict[str, list[str]]
    folders: tuple[str, ...]

    @property
    def total(self) -> int:
        """Counts all images, also those that cannot be used."""
        return len(self.images) + sum(map(len, self.bad.values()))

    def report(self, where: object, bad_files: str) -> None:
        """Raises ValueError, or warns where bad_files is 'skip', for what cannot be used."""
        for problem, names in (self.bad or {EMPTY: []}).items():
            report_bad(names, self.total, where, problem, bad_files)


def find(folder: str | os.PathLike, *, deep: bool = True) -> Found:
    """Lists the images in a folder, and with `deep` in the folders within.

    Links are followed, once per way round a loop. Hidden files and folders (also a Mac's `._x.jpg`)
    and files that are no images are passed over. A folder may have a name such as `x.jpg`.
    """
    top = os.fspath(folder)
    images: list[str] = []
    bad: dict[str, list[str]] = {}
    bare: list[str] = []

    def visit(place: str, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        status = os.stat(place)
        if (own := (status.st_dev, status.st_ino)) in above:
            return
        before = len(images) + sum(map(len, bad.values())) + len(bare)
        with os.scandir(place) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            name = prefix + entry.name
            if hidden(entry.name):
                continue
            if entry.is_dir():
                if deep:
                    visit(entry.path, name + '/', above | {own})
                continue
            suffix = os.path.splitext(entry.name)[1].lower()
            if not suffix and entry.is_symlink() and not os.path.exists(entry.path):
                # What may have been a folder of images, as DVC and git-annex link them.
                bad.setdefault(MISSING, []).append(name)
            if suffix in IMAGE_SUFFIXES | OTHER_SUFFIXES:
                problem = _problem(entry, suffix)
                if problem is None:
                    images.append(name)
                else:
                    bad.setdefault(problem, []).append(name)
        if prefix and before == len(images) + sum(map(len, bad.values())) + len(bare):
            bare.append(prefix.rstrip('/'))

    visit(top, '', frozenset())
    return Found(tuple(sorted(images)), bad, tuple(bare))


def _problem(entry: os.DirEntry[str], suffix: str) -> str | None:
    """Returns why an image file cannot be used, or None."""
    if control_characters(entry.name):
        return UNSAFE
    if suffix in OTHER_SUFFIXES:
        return OTHER
    if not entry.is_file():
        return MISSING
    return None if entry.stat().st_size else EMPTY


def hidden(name: str) -> bool:
    """Returns whether a base name is that of a file or folder that is passed over."""
    return name.startswith('.') or name in PASSED_OVER


def stem(name: str) -> str:
    """Returns a file's base name without its image suffixes, of which some names have two."""
    base = os.path.basename(name)
    while is_image(base) and (shorter := os.path.splitext(base)[0]) != base:
        base = shorter
    return base


def is_image(name: str) -> bool:
    """Returns whether a base name is that of a visible image file."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith('.')


def control_characters(text: str) -> bool:
    """Returns whether a text holds characters that move a cursor, clear a screen, or end a line."""
    return _CONTROL.search(text) is not None


def report_bad(
    names: Sequence[str],
    total: int,
    where: object,
    problem: str,
    bad_files: str,
    *,
    what: str = 'images',
) -> None:
    """Raises ValueError, or warns where bad_files is 'skip', if there are names.

    The message counts them and shows the first three.
    """
    if bad_files not in BAD_FILES:
        raise ValueError(f"bad_files is {bad_files!r}; expected 'error' or 'skip'")
    if not names:
        return
    text = (
        f'{len(names):,} of {total:,} {what} in {where} {problem}; e.g.'
        f' {", ".join(map(repr, names[:3]))}'
    )
    if bad_files == 'error':
        raise ValueError(
            f"{text}. Mend or remove them, or pass bad_files='skip'"
            ' (jreid train: --config.data.bad_files=skip; jreid extract, label, rank: --skip-bad)'
        )
    warnings.warn(f'left out: {text}', stacklevel=3)
