"""Reads features that other programs wrote: `.npy`, or `.npz` with labels and paths or without."""

import os
import pathlib

import numpy as np

from jreid.data.archive import problem
from jreid.data.datasets import table
from jreid.data.datasets.finding import control_characters
from jreid.data.images import UNKNOWN, Listing

FEATURES = ('features', 'feats', 'embeddings', 'feat', 'arr_0')
IDENTITIES = ('identity', 'identities', 'ids', 'pids', 'labels')
CAMERAS = ('camera', 'cameras', 'camids', 'cams')
PATHS = ('path', 'paths', 'image', 'images', 'names')
"""Names of arrays, the first of which that is there is read."""
PIXELS = ('image', 'images')
"""Of `PATHS`, the names that are read where they hold words, and passed over where they do not."""


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Returns whether a readable file lacks the run that `jreid extract` writes into its own."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return not isinstance(file, np.ndarray) and 'run' not in file.files
    except Exception:  # a plain array is no context manager; a damaged file has its own error
        return pathlib.Path(path).suffix.lower() == '.npy'


def read_foreign(path: str | os.PathLike[str]) -> tuple[Listing, np.ndarray]:
    """Returns the images and their features, float32 [N, D].

    Relative paths are taken from the file's folder; images without a path are called by their row.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, has no matrix of features, or labels of another length.
    """
    try:
        file = np.load(path, allow_pickle=False)
        arrays = {'features': file} if isinstance(file, np.ndarray) else dict(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # the parsers of zip and npy raise errors of many types
        raise ValueError(f'{path}: {problem(error)}; expected features, .npy or .npz') from error

    def one(names: tuple[str, ...]) -> np.ndarray | None:
        return next((arrays[name] for name in names if name in arrays), None)

    features = one(FEATURES)
    if features is None or features.ndim != 2 or 0 in features.shape:
        forms = ', '.join(f'{name} {array.dtype} {array.shape}' for name, array in arrays.items())
        raise ValueError(f"{path} has {forms or 'nothing'}; expected 'features' [images, width]")
    if features.dtype.kind not in 'fiu':
        raise ValueError(f'{path}: features are {features.dtype}; expected real numbers')
    count, folder = len(features), pathlib.Path(path).absolute().parent
    labels: dict[str, np.ndarray] = {}
    for label, plural, names in (
        ('identity', 'identities', IDENTITIES),
        ('camera', 'cameras', CAMERAS),
    ):
        texts = _labels(one(names), count, plural, path)
        numbers = table.numbered(texts, keep=True)
        labels[label] = np.asarray([numbers.get(text, UNKNOWN) for text in texts], np.int32)
        labels[f'{label}_name'] = np.asarray(texts, np.str_)
    # An array `images` may as well hold the pixels.
    words = [n for n in PATHS if n not in PIXELS or n in arrays and arrays[n].dtype.kind in 'US']
    paths = one(tuple(words))
    if paths is None:
        paths = np.asarray([f'row{i}' for i in range(count)])
    paths = _decoded(paths)
    if paths.shape != (count,) or paths.dtype.kind != 'U':
        raise ValueError(f'{path}: paths are {paths.dtype} {paths.shape}; expected words [{count}]')
    if wrong := [str(name) for name in paths if not name or control_characters(str(name))]:
        raise ValueError(f'{path}: the path {wrong[0]!r} is empty or holds control characters')
    full = np.asarray([os.path.normpath(folder / str(name)) for name in paths])
    return Listing(full, **labels), features.astype(np.float32)


def _labels(labels: np.ndarray | None, count: int, what: str, path: object) -> list[str]:
    """Returns labels as texts, '' where unknown, from whole numbers or words [N] or [N, 1].

    Whole numbers may be of floating point, as pandas keeps a column with gaps: NaN is unknown.
    So the same number and the same word are the same in two files, whatever else these hold.
    """
    if labels is None:
        return [''] * count
    labels = _decoded(labels)
    if labels.dtype.kind == 'f':
        labels = _whole(labels, what, path)
    if labels.dtype.kind not in 'iuU' or labels.shape not in ((count,), (count, 1), (1, count)):
        raise ValueError(
            f'{path}: {what} are {labels.dtype} {labels.shape}; expected whole numbers or words'
            f' [{count}], one per image'
        )
    if labels.dtype.kind != 'U' and int(labels.min()) < UNKNOWN:
        raise ValueError(
            f'{path}: {what} hold {labels.min()}; expected -1 (unknown) or numbers from 0 on'
        )
    texts = [table.label(str(text), what, str(path)) for text in labels.reshape(-1)]
    return ['' if text == table.JUNK else text for text in texts]


def _whole(labels: np.ndarray, what: str, path: object) -> np.ndarray:
    """Returns whole numbers of floating point as int64; NaN becomes -1, unknown."""
    known = ~np.isnan(labels)
    exact = known & (np.abs(labels) < 2**63) & (labels == np.round(labels))
    if (wrong := labels[known & ~exact]).size:
        raise ValueError(
            f'{path}: {what} hold {wrong[0]}; expected whole numbers (NaN where unknown) or words'
        )
    return np.where(known, labels, UNKNOWN).astype(np.int64)


def _decoded(array: np.ndarray) -> np.ndarray:
    """Returns words of bytes as words; other arrays unchanged."""
    return np.char.decode(array, 'utf-8') if array.dtype.kind == 'S' else array
