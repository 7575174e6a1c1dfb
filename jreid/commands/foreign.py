"""Reads features that other programs wrote: `.npy`, or `.npz` with labels and paths or without."""

import os
import pathlib

import numpy as np

from jreid.data.images import UNKNOWN, Listing

FEATURES = ('features', 'feats', 'embeddings', 'feat', 'arr_0')
IDENTITIES = ('identity', 'identities', 'ids', 'pids', 'labels')
CAMERAS = ('camera', 'cameras', 'camids', 'cams')
PATHS = ('path', 'paths', 'image', 'images', 'names')
"""Names of arrays, the first of which that is there is read."""


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
        raise ValueError(f'{path}: {error}; expected features, .npy or .npz') from error

    def one(names: tuple[str, ...]) -> np.ndarray | None:
        return next((arrays[name] for name in names if name in arrays), None)

    features = one(FEATURES)
    if features is None or features.ndim != 2 or 0 in features.shape:
        forms = ', '.join(f'{name} {array.dtype} {array.shape}' for name, array in arrays.items())
        raise ValueError(f"{path} has {forms or 'nothing'}; expected 'features' [images, width]")
    if features.dtype.kind not in 'fiu':
        raise ValueError(f'{path}: features are {features.dtype}; expected real numbers')
    count, folder = len(features), pathlib.Path(path).absolute().parent
    numbers, words = [], []
    for what, names in (('identities', IDENTITIES), ('cameras', CAMERAS)):
        labels = one(names)
        labels = np.full(count, UNKNOWN, np.int32) if labels is None else labels.squeeze()
        if labels.shape != (count,) or labels.dtype.kind not in 'iuU':
            raise ValueError(
                f'{path}: {what} are {labels.dtype} {labels.shape}; expected whole numbers or words'
                f' [{count}], one per image'
            )
        is_word = labels.dtype.kind == 'U'
        words.append(labels if is_word else None)
        numbers.append(np.unique(labels, return_inverse=True)[1] if is_word else labels)
    paths = one(PATHS)
    if paths is None:
        paths = np.asarray([f'row{i}' for i in range(count)])
    if paths.shape != (count,) or paths.dtype.kind != 'U':
        raise ValueError(f'{path}: paths are {paths.dtype} {paths.shape}; expected words [{count}]')
    full = np.asarray([os.path.normpath(folder / str(name)) for name in paths])
    identity, camera = (part.astype(np.int32) for part in numbers)
    return Listing(full, identity, camera, *words), features.astype(np.float32)
