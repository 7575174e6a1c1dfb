"""CUHK03 as its authors ship it: `cuhk-03.mat`, a MATLAB 7.3 file, which is HDF5.

It holds `labeled` and `detected`, cells of five camera pairs, each a cell [people, 10] of images:
1 to 5 are view 1, 6 to 10 view 2, and an image may be missing. `testsets` is a cell of 20 test
sets, each [100, 2]: camera pair and person. HDF5 has the axes of MATLAB the other way round. The
form is that which the public loaders read (torchreid's `cuhk03.py`, open-reid's).
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from jreid.data.cache import locked
from jreid.files import cache_folder, check_place

FILENAME = 'cuhk-03.mat'
FORM = 'labeled, detected and testsets, as in cuhk-03.mat of the authors'
IMAGES = 10
"""Images per person: five from each view."""


def unpack(
    path: pathlib.Path, kind: str, folder: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Returns a folder with `images_<kind>`, writing the images on first use.

    The folder lies beside those of the packs, in `folder/cuhk03`, and is named after the file's
    path, size and time of change. It gets its name when it is complete.

    Args:
      path: cuhk-03.mat.
      kind: 'labeled' or 'detected'.
      folder: where packs are kept; None for jreid's cache.

    Raises:
      ValueError: the file is no such file.
    """
    status = path.stat()
    text = f'{path.resolve()} {status.st_size} {status.st_mtime_ns}'
    kept = pathlib.Path(folder).expanduser().absolute() if folder else cache_folder()
    place = kept / 'cuhk03' / hashlib.sha256(text.encode()).hexdigest()[:24]
    final = place / f'images_{kind}'
    if final.is_dir():
        return place
    check_place(place)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / f'{kind}.lock') as held:
        if not final.is_dir():
            part = place / (f'{kind}.part' if held else f'{kind}-{os.getpid()}.part')
            shutil.rmtree(part, ignore_errors=True)  # what a killed process left
            part.mkdir()
            try:
                with _opened(path) as file:
                    _write(file, kind, part, path)
                _finish(part, final)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
    return place


def _finish(part: pathlib.Path, final: pathlib.Path) -> None:
    try:
        os.replace(part, final)
    except OSError:
        # Without locks another process may have been first; its images are the same.
        if not final.is_dir():
            raise
        shutil.rmtree(part, ignore_errors=True)


def read_test_sets(path: pathlib.Path) -> list[tuple[int, ...]]:
    """Returns the 20 test sets of the classic protocol, as numbers 1000 * pair + person.

    Raises:
      ValueError: the file is no such file.
    """
    sets = []
    with _opened(path) as file:
        for reference in file['testsets'][()].ravel():
            people = np.asarray(file[reference]).astype(np.int64)
            if people.ndim != 2 or 2 not in people.shape:
                raise ValueError(f'{path}: a test set has shape {people.shape}; expected {FORM}')
            if people.shape[0] != 2:
                people = people.T
            sets.append(tuple(sorted((1000 * people[0] + people[1]).tolist())))
    return sets


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f'{path} is HDF5, which needs h5py (pip install h5py); or give the folder of images'
            ' extracted from it'
        ) from error
    try:
        with h5py.File(path, 'r') as file:
            yield file
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f'{path} cannot be read: {error}; expected {FORM}') from error


def _write(file: Any, kind: str, folder: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the images of all pairs as `pair_person_view_image.png`."""
    pairs = [np.asarray(file[reference]) for reference in file[kind][()].ravel()]
    wrong = [pair.shape for pair in pairs if pair.ndim != 2 or IMAGES not in pair.shape]
    if wrong or not pairs:
        raise ValueError(
            f'{path}: {kind} has {len(pairs)} camera pairs, of shapes'
            f' {[pair.shape for pair in pairs]}; expected {FORM}'
        )
    cells = [pair.T if pair.shape[0] == IMAGES else pair for pair in pairs]
    with tqdm(
        total=sum(len(people) for people in cells),
        desc=f'unpacking {path.name}, {kind}',
        unit='person',
        delay=1,
        disable=None,
    ) as bar:
        for pair, people in enumerate(cells, 1):
            for person, references in enumerate(people, 1):
                for number, reference in enumerate(references, 1):
                    # An empty cell is an array of its size, [0, 0], which has two numbers.
                    pixels = np.asarray(file[reference])
                    if pixels.ndim == 3:
                        view = 1 if number <= IMAGES // 2 else 2
                        name = f'{pair}_{person:03d}_{view}_{number:02d}.png'
                        # The pixels are stored [3, W, H].
                        Image.fromarray(np.ascontiguousarray(pixels.T, np.uint8)).save(
                            folder / name, compress_level=1
                        )
                bar.update()
