"""Files of a teacher's labels: label maps as PNG files, soft attributes in an `.npz`.

`masks/<key>.png` is a label map of any size (8-bit grey or palette; the value of a pixel is its
class). `attributes.npz` holds `path` [N] (the keys), `names` [M] and `attributes` [N, M], the
probability of each attribute. A key is the path of an image without its suffix, or the end of that
path. Files that another program made, with the images in another folder, therefore match too.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jreid.data.archive import read_arrays
from jreid.data.index import Index
from jreid.files import replacing

MASKS, ATTRIBUTES = 'masks', 'attributes.npz'


def added(index: Index, folder: str | os.PathLike) -> Index:
    """Returns the index with the teacher's attributes and label maps instead of its own.

    An empty `folder` returns the index unchanged.

    Raises:
      FileNotFoundError: the folder has neither label maps nor attributes.
      ValueError: an image has no entry, or two images share one.
    """
    if not folder:
        return index
    place = pathlib.Path(folder).expanduser().absolute()
    if not (place / MASKS).is_dir() and not (place / ATTRIBUTES).is_file():
        raise FileNotFoundError(
            f'{place} holds no labels of a teacher: expected {MASKS}/<image path>.png or'
            f' {ATTRIBUTES}; write them with jreid label'
        )
    if (place / MASKS).is_dir():
        files = sorted(
            path.relative_to(place / MASKS).as_posix() for path in (place / MASKS).rglob('*.png')
        )
        chosen = match(index.path.tolist(), files, source=str(place / MASKS))
        index = dataclasses.replace(
            index, mask_path=np.asarray([str(place / MASKS / files[i]) for i in chosen], np.str_)
        )
    if (place / ATTRIBUTES).is_file():
        values, names = read_attributes(place / ATTRIBUTES, index.path.tolist())
        index = dataclasses.replace(index, attributes=values, attribute_names=names)
    return index


def match(paths: Sequence[str], keys: Sequence[str], *, source: str) -> np.ndarray:
    """Returns, for each image path, the number of the key that agrees with its end best.

    The best key agrees in the most folders, and at least in the file's name, suffixes aside.

    Raises:
      ValueError: a key occurs twice, an image has no key, two keys fit an image equally well, or
        two images have one key. The message names the first such image or key.
    """
    split = [_parts(key) for key in keys]
    by_name: dict[str, list[int]] = {}
    for number, parts in enumerate(split):
        by_name.setdefault(parts[-1], []).append(number)
    chosen, lacking, unclear = [], [], []
    for path in paths:
        parts = _parts(path)
        shared = {number: _shared(parts, split[number]) for number in by_name.get(parts[-1], [])}
        best = [number for number, depth in shared.items() if depth == max(shared.values())]
        if not best:
            lacking.append(path)
        elif len(best) > 1:
            unclear.append(path)
        else:
            chosen.append(best[0])
    for bad, problem in ((lacking, 'have no entry'), (unclear, 'fit several entries equally well')):
        if bad:
            raise ValueError(
                f'{len(bad):,} of {len(paths):,} images {problem} in {source}, e.g. {bad[0]};'
                f' entries are like {keys[0] if keys else "none at all"!r}'
            )
    numbers, counts = np.unique(chosen, return_counts=True)
    if (counts > 1).any():
        key = keys[numbers[np.argmax(counts)]]
        raise ValueError(
            f'{int(counts.max())} images share the entry {key!r} of {source}; give entries the'
            ' folders of the image path too'
        )
    return np.asarray(chosen, np.int64)


def read_attributes(
    path: str | os.PathLike, images: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads the attribute probabilities of images from an `.npz`.

    Returns:
      float32 [N, M] in the order of `images`, and the M names.

    Raises:
      ValueError: the file is not of that form, or an image has no row.
    """
    arrays = read_arrays(
        path,
        ('path', 'names', 'attributes'),
        expected='an .npz with path [N], names [M] and attributes [N, M]',
    )
    keys, names, values = arrays.values()
    if keys.ndim != 1 or names.ndim != 1 or {keys.dtype.kind, names.dtype.kind} != {'U'}:
        raise ValueError(
            f'{path}: path is {keys.dtype} {keys.shape} and names {names.dtype} {names.shape};'
            ' expected lists of text'
        )
    if values.shape != (len(keys), len(names)) or not np.issubdtype(values.dtype, np.number):
        raise ValueError(
            f'{path}: attributes has shape {values.shape} and type {values.dtype}; expected numbers'
            f' ({len(keys)}, {len(names)}), one row per path'
        )
    rows = match(images, keys.tolist(), source=str(path))
    return values[rows].astype(np.float32), tuple(names.tolist())


def write_attributes(
    folder: str | os.PathLike, keys: Sequence[str], names: Sequence[str], values: np.ndarray
) -> pathlib.Path:
    """Writes `attributes.npz`; the same values give the same bytes."""
    place = pathlib.Path(folder)
    with replacing(place / ATTRIBUTES) as fresh:
        np.savez(
            fresh,
            path=np.asarray(keys, np.str_),
            names=np.asarray(names, np.str_),
            attributes=np.asarray(values, np.float32),
        )
    return place / ATTRIBUTES


def write_map(folder: str | os.PathLike, key: str, labels: np.ndarray) -> pathlib.Path:
    """Writes the label map uint8 [H, W] of one image."""
    path = pathlib.Path(folder) / MASKS / f'{key}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)
    return path


def keys_of(paths: Sequence[str]) -> list[str]:
    """Returns the keys of images: their paths without suffixes, from their common folder on."""
    top = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.splitext(os.path.relpath(path, top))[0].replace(os.sep, '/') for path in paths]


def _parts(path: str) -> tuple[str, ...]:
    parts = [part for part in path.replace('\\', '/').split('/') if part not in ('', '.')]
    return (*parts[:-1], os.path.splitext(parts[-1])[0]) if parts else ('',)


def _shared(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Counts the equal components from the end."""
    depth = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        depth += 1
    return depth
