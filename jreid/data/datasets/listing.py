"""What all readers share: finding folders, parsing names, building and checking an index."""

import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jreid.data.datasets import finding
from jreid.data.datasets.attributes import Table
from jreid.data.datasets.finding import control_characters as control_characters
from jreid.data.datasets.finding import is_image as is_image
from jreid.data.datasets.finding import report_bad as report_bad
from jreid.data.datasets.finding import stem as stem
from jreid.data.index import Index, Splits

ARCHIVES = ('.zip', '.tar', '.tgz', '.tar.gz', '.rar', '.7z')


class Photo(NamedTuple):
    """An image file with its identity and camera.

    The identity is the set's own (-1 = junk or unknown), the camera 0-based (-1 = unknown).
    """

    path: str
    identity: int
    camera: int


def find_folder(
    root: str | os.PathLike, names: Sequence[str], needed: Sequence[str], *, name: str, layout: str
) -> pathlib.Path:
    """Returns `root` or the first of its sub-folders `names` that holds everything `needed`.

    Raises:
      FileNotFoundError: none does; the message says in a line each what the places lack, which
        archives lie there packed, and the set's layout.
    """
    looked = []
    for folder in places(root, names):
        missing = [item for item in needed if not (folder / item).exists()]
        if folder.is_dir() and not missing:
            return folder
        looked.append((folder, f'lacks {", ".join(missing)}'))
    raise not_found(root, looked, name, layout)


def find_file(root: str | os.PathLike, names: Sequence[str], filename: str) -> pathlib.Path | None:
    """Returns a file in `root` or one of its sub-folders `names`, or None where there is none."""
    return next((p / filename for p in places(root, names) if (p / filename).is_file()), None)


def places(root: str | os.PathLike, names: Sequence[str]) -> list[pathlib.Path]:
    """Lists where a set may lie: `root`, its sub-folders `names`, and such folders one deeper.

    Archives and other programs put a folder of the set's own around it.
    """
    top = pathlib.Path(root).expanduser().absolute()
    folders = [top, *(top / name for name in names)]
    if top.is_dir():
        inner = sorted(e for e in top.iterdir() if e.is_dir() and not finding.hidden(e.name))
        folders += [e / name for e in inner for name in names if (e / name).is_dir()]
    return list(dict.fromkeys(folders))


def not_found(
    root: str | os.PathLike,
    looked: Sequence[tuple[pathlib.Path, str]],
    name: str,
    layout: str,
) -> FileNotFoundError:
    """Makes the error that no place holds a set: one line per place, archive and layout."""
    top = pathlib.Path(root).expanduser().absolute()
    lines = [
        f'  {folder}: {problem if folder.is_dir() else "no such folder"}'
        for folder, problem in looked
    ]
    if top.is_dir():
        archives = sorted(e for e in top.iterdir() if e.name.lower().endswith(ARCHIVES))
        lines += [f'  {archive}: an archive; unpack it where it lies' for archive in archives]
    return FileNotFoundError(
        '\n'.join([f'{name} was not found. Looked in', *lines, f'  its layout: {layout}'])
    )


def scan(
    folder: pathlib.Path,
    parse: Callable[[str], tuple[int, int] | None],
    *,
    example: str,
    bad_files: str,
) -> list[Photo]:
    """Lists the images right under a folder, in the order of their names.

    What counts as an image is said in `jreid.data.datasets.finding.find`.

    Args:
      parse: base name without its suffix -> (identity, camera), or None where the name is not the
        set's.
      example: a good name, for the error.
      bad_files: what to do with misnamed and empty files: 'error', or 'skip' to leave them out with
        a warning.
    """
    contents = finding.find(folder, deep=False)
    photos, misnamed = [], []
    for name in contents.images:
        parsed = parse(finding.stem(name))
        if parsed is None:
            misnamed.append(name)
        else:
            photos.append(Photo(os.path.join(folder, name), *parsed))
    report_bad(
        misnamed,
        contents.total,
        folder,
        f'have no identity and camera in their name; expected names like {example!r}',
        bad_files,
    )
    contents.report(folder, bad_files)
    return photos


def by_pattern(
    pattern: re.Pattern[str], cameras: int | None = None
) -> Callable[[str], tuple[int, int] | None]:
    """Returns a `parse` for `scan`: the groups of `pattern` are the identity and the camera.

    Cameras count from 1 up to `cameras`.
    """

    def parse(base: str) -> tuple[int, int] | None:
        match = pattern.fullmatch(base)
        if not match or not 1 <= int(match[2]) <= (cameras or int(match[2])):
            return None
        return int(match[1]), int(match[2]) - 1

    return parse


def build(
    photos: Sequence[Photo],
    *,
    dense: bool,
    table: Table | None = None,
    masks: Mapping[str, str] | None = None,
) -> Index:
    """Builds an index of photos.

    Args:
      dense: number the identities 0..C-1 in the order of the set's own ids (for training).
      table: attributes of the set's own ids.
      masks: path of an image -> path of its mask, for every image.
    """
    identity = np.asarray([p.identity for p in photos], np.int64)
    attributes = None if table is None else table.rows(identity)
    if dense:
        known = np.unique(identity[identity >= 0])
        identity = np.where(identity >= 0, np.searchsorted(known, identity), -1)
    return Index(
        path=np.asarray([p.path for p in photos], np.str_),
        identity=identity,
        camera=np.asarray([p.camera for p in photos], np.int64),
        attributes=attributes,
        attribute_names=() if table is None else table.names,
        mask_path=None if masks is None else np.asarray([masks[p.path] for p in photos], np.str_),
    )


def require_images(
    photos: Sequence[Photo], *, name: str, split: str, where: object, layout: str
) -> None:
    """Raises ValueError where a split is empty."""
    if not photos:
        raise ValueError(
            f'{name}: the {split} split is empty: {where} holds no image of a person with a known'
            f' identity. The layout: {layout}'
        )


def check_counts(splits: Splits, expected: Mapping[str, tuple[int, int]], cameras: int) -> None:
    """Warns where images, identities or cameras are not those of the whole set.

    The warning names the differences.

    Args:
      expected: split -> (images, identities).
      cameras: of the whole set.
    """
    differences = []
    for split, index in splits.parts():
        counts = ('images', len(index)), ('identities', index.identities)
        for (what, count), whole in zip(counts, expected[split], strict=True):
            if count != whole:
                differences.append(
                    f'{split} has {count:,} {what}, the set {whole:,} ({count - whole:+,})'
                )
    camera_count = count_cameras(index for _, index in splits.parts())
    if camera_count != cameras:
        differences.append(f'{camera_count} cameras, the set has {cameras}')
    if differences:
        warnings.warn(
            f'{splits.name} is not the whole set: {"; ".join(differences)}. For a subset pass'
            ' expected=False',
            stacklevel=3,
        )


def count_cameras(indices: Iterable[Index]) -> int:
    """Counts the distinct cameras over several indices."""
    return len(np.unique(np.concatenate([index.camera for index in indices])))


def find_images(
    root: str | os.PathLike, names: Sequence[str], *, name: str, layout: str
) -> pathlib.Path:
    """Returns `root` or the first of its sub-folders `names` that holds an image.

    Raises:
      FileNotFoundError: none does.
    """
    looked = []
    for folder in places(root, names):
        if folder.is_dir() and finding.find(folder, deep=False).total:
            return folder
        looked.append((folder, 'holds no image'))
    raise not_found(root, looked, name, layout)


def half_splits(name: str, photos: Sequence[Photo], *, split_seed: int) -> Splits:
    """Splits a set without official splits into random halves.

    A random half of the identities, rounded down, is trained on. One random image per test identity
    and camera is a query; the others are the gallery. The draw depends on split_seed and the sets
    of ids and names alone.
    """
    generator = np.random.default_rng(split_seed)
    identities = np.unique([p.identity for p in photos])
    if len(identities) < 2:
        raise ValueError(
            f'{name}: {len(identities)} identities cannot be split into a training and a test half'
        )
    trained = set(generator.permutation(identities)[: len(identities) // 2].tolist())
    groups: dict[tuple[int, int], list[Photo]] = {}
    for photo in photos:
        if photo.identity not in trained:
            groups.setdefault((photo.identity, photo.camera), []).append(photo)
    queries = {group[generator.integers(len(group))] for _, group in sorted(groups.items())}
    return Splits(
        name=name,
        train=build([p for p in photos if p.identity in trained], dense=True),
        query=build([p for p in photos if p in queries], dense=False),
        gallery=build(
            [p for p in photos if p.identity not in trained and p not in queries], dense=False
        ),
        has_cameras=True,
    )


def inside(folder: pathlib.Path, name: str) -> str | None:
    """Returns the absolute path of a file named in a list, or None where the name is unsafe.

    A name is unsafe if it leads out of the folder or holds control characters.
    """
    if not name or control_characters(name):
        return None
    # The folder may be a relative path such as ../set.
    top = os.path.normpath(folder)
    path = os.path.normpath(os.path.join(top, name))
    return path if os.path.commonpath([path, top]) == top else None


def whole(name: str) -> bool:
    """Returns whether a path is as jreid writes it: absolute, without control characters."""
    return os.path.isabs(name) and not control_characters(name)
