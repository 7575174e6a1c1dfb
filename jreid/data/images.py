"""Lists the images that a user names on the command line: files, folders and CSV files."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from jreid.data.datasets import camera_names, finding, table
from jreid.data.datasets.table import Row
from jreid.data.video import is_video

log = logging.getLogger('jreid')

UNKNOWN = -1
INDEX = 'index.csv'


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """Images for a model.

    Attributes:
      path: [N] str, absolute.
      identity, camera: [N] int32, -1 where unknown. Where the user's labels are words, they are
        numbered within the list.
      identity_name, camera_name: [N] str, the user's labels, '' where unknown; None for those of
        the numbers.
    """

    path: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    identity_name: np.ndarray | None = None
    camera_name: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ('identity', 'camera'):
            if getattr(self, f'{name}_name') is None:
                object.__setattr__(self, f'{name}_name', _names(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.path)

    def names(self, label: str) -> list[str]:
        """Returns the user's labels, '' where unknown; `label` is 'identity' or 'camera'."""
        texts: list[str] = getattr(self, f'{label}_name').tolist()
        return texts

    def take(self, rows: Sequence[int] | np.ndarray) -> 'Listing':
        """Returns some of the images, in the order of `rows`."""
        return Listing(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def _names(numbers: np.ndarray) -> np.ndarray:
    return np.asarray([str(n) if n != UNKNOWN else '' for n in numbers], np.str_)


def listing(
    names: Sequence[str | os.PathLike[str]],
    *,
    root: str | os.PathLike[str] | None = None,
    bad_files: str = 'error',
) -> Listing:
    """Lists the images that files, folders and CSV files name, in this order.

    What counts as an image is said in `jreid.data.datasets.finding.find`. Those of a folder come
    sorted by name, with the cameras that folders or names say, and without folders `-1` (junk). A
    folder with an `index.csv` is read by that. A CSV file has a column `image` (or `path`),
    relative to its own folder. It may have the columns `identity` and `camera` of a set of the
    user's own, see `jreid.data.datasets.folder.load`. Its junk is left out.

    Args:
      names: image files, folders and CSV files.
      root: the folder that all images of a CSV file must lie in; None for the file's own.
      bad_files: 'error' or 'skip', for missing and empty files.

    Raises:
      FileNotFoundError: a name is neither file nor folder.
      ValueError: a video or a file of features; a CSV file that cannot be read, lacks its column or
        names an image outside `root`; or no image at all.
    """
    rows: list[Row] = []
    top = pathlib.Path(root).expanduser().absolute() if root else None
    for name in names:
        place = pathlib.Path(name).expanduser().absolute()
        if (place / INDEX).is_file():
            rows += _of_table(place / INDEX, top, bad_files)
        elif place.is_dir():
            rows += _of_folder(place, bad_files)
        elif place.suffix.lower() == '.csv' and place.is_file():
            rows += _of_table(place, top, bad_files)
        elif place.is_file() and (others := _other_kind(place)):
            raise ValueError(f'{name} is {others}')
        elif place.is_file():
            rows.append(Row(str(place)))
        else:
            raise FileNotFoundError(f'{name} is no image, folder or CSV file')
    if not rows:
        raise ValueError(
            f'no image in {", ".join(map(str, names))}; looked for'
            f' {", ".join(sorted(finding.IMAGE_SUFFIXES))}'
        )
    labels = {}
    for label in ('identity', 'camera'):
        texts = [getattr(row, label) for row in rows]
        numbers = table.numbered(texts, keep=True)
        labels[label] = np.asarray([numbers.get(text, UNKNOWN) for text in texts], np.int32)
        words = not all(text.isdecimal() for text in texts if text)
        labels[f'{label}_name'] = np.asarray(texts, np.str_) if words else _names(labels[label])
    return Listing(np.asarray([row.path for row in rows], np.str_), **labels)


def _other_kind(place: pathlib.Path) -> str:
    """Says what a file is by its suffix and where it goes, if it is no image; else ''."""
    if is_video(place):
        return 'a video, expected images; jreid extract takes the frames of videos'
    if place.suffix.lower() in ('.npz', '.npy', '.parquet'):
        return 'a file of features, expected images; jreid rank and evaluate take .npz and .npy'
    return ''


def _of_folder(place: pathlib.Path, bad_files: str) -> list[Row]:
    contents = finding.find(place)
    contents.report(place, bad_files)
    names = [name for name in contents.images if table.JUNK not in name.split('/')[:-1]]
    if junk := len(contents.images) - len(names):
        log.info('%d images in folders %s of %s are junk and left out', junk, table.JUNK, place)
    cameras = camera_names.cameras_of(names)
    return [
        Row(os.path.join(place, name), camera=camera)
        for name, camera in zip(names, cameras, strict=True)
    ]


def _of_table(path: pathlib.Path, root: pathlib.Path | None, bad_files: str) -> list[Row]:
    read = table.read(
        path,
        root=root,
        image=('image', 'path'),
        bad_files=bad_files,
        advice='; --root names another folder',
    )
    if read.passed_over:
        log.info('columns of %s that are not read: %s', path, ', '.join(read.passed_over))
    if read.gaps:
        log.info('%d labels of %s are nan, as pandas writes gaps: read as empty', read.gaps, path)
    parts: dict[str, list[Row]] = {}
    for row in read.rows:
        parts.setdefault(row.split, []).append(row)
    kept = {row.path: row for part in parts.values() for row in table.without_junk(part)}
    if junk := len(read.rows) - len(kept):
        log.info('%d images of %s are junk (-1) and left out', junk, path)
    return [kept[row.path] for row in read.rows if row.path in kept]


def matched(query: Listing, gallery: Listing) -> tuple[Listing, Listing]:
    """Numbers the labels of two lists together, so that equal labels have equal numbers.

    Labels that are numbers in both lists stay unchanged.
    """
    sides = [query, gallery]
    for label in ('identity', 'camera'):
        texts = [side.names(label) for side in sides]
        if all(_are_numbers(side, label) for side in sides):
            continue
        numbers = table.numbered([*texts[0], *texts[1]])
        sides = [
            dataclasses.replace(
                side, **{label: np.asarray([numbers.get(t, UNKNOWN) for t in own], np.int32)}
            )
            for side, own in zip(sides, texts, strict=True)
        ]
    return sides[0], sides[1]


def _are_numbers(images: Listing, label: str) -> bool:
    """Returns whether the labels are numbers that stand unchanged in the list.

    Numbers above those of int32, such as dates, are numbered within their list.
    """
    return all(
        text.isdecimal() and int(text) == number if text else number == UNKNOWN
        for text, number in zip(images.names(label), getattr(images, label).tolist(), strict=True)
    )
