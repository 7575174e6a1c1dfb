"""Files of features: what `jreid extract` writes, and what it and other programs wrote."""

import csv
import dataclasses
import importlib
import os
import pathlib
from typing import Any

import numpy as np

from jreid.commands.foreign import is_foreign, read_foreign
from jreid.data.archive import read_arrays
from jreid.data.datasets.listing import whole
from jreid.data.images import Listing
from jreid.files import check_place, replacing
from jreid.run import places

FORMATS = ('npz', 'parquet', 'csv')


class MissingWriterError(ImportError):
    """The package that writes a format is not installed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """A features file.

    Attributes:
      images: what the features are of.
      features: float32 [N, D], compared by Euclidean distance.
      run: folder of the run whose model made them.
    """

    images: Listing
    features: np.ndarray
    run: str

    def save(self, path: str | os.PathLike[str], *, format: str = 'npz') -> None:
        """Writes the file, whole or not at all.

        Args:
          format: 'npz', which `load` reads; 'parquet' or 'csv' for other programs.

        Raises:
          ValueError: the path has another suffix than the format.
          MissingWriterError: Parquet without pyarrow.
        """
        final = check_path(path, format)
        with replacing(final) as temporary:
            {'npz': _to_npz, 'parquet': _to_parquet, 'csv': _to_csv}[format](self, temporary)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> 'Features':
        """Reads what `save` or a run wrote, or features of another program, whose `run` is ''.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: the file is damaged or another kind of file, or a folder.
        """
        if (folder := pathlib.Path(path)).is_dir():
            raise ValueError(_no_file(folder))
        if not folder.exists():
            raise FileNotFoundError(
                f'{path}: no such file; expected features, such as jreid extract RUN IMAGES'
                ' --out=FILE.npz writes'
            )
        if is_foreign(path):
            return Features(*read_foreign(path), '')
        expected = 'a file that jreid extract wrote'
        arrays = read_arrays(
            path,
            ('path', 'identity', 'camera', 'features', 'run'),
            optional=('identity_name', 'camera_name'),
            expected=expected,
        )
        if not _fits(arrays):
            forms = ', '.join(
                f'{name} {array.dtype} {array.shape}' for name, array in arrays.items()
            )
            raise ValueError(f'{path}: {forms}; expected {expected}')
        names, run = arrays['path'].tolist(), str(arrays['run'])
        if run == HERE:
            folder = pathlib.Path(path).absolute().parent
            run = str(folder)
            try:
                names = places.lengthen(names, places.of_run(folder))
            except ValueError as error:
                raise ValueError(f'{path}: {error}; expected {expected}') from error
        if wrong := [name for name in names if not whole(name)]:
            raise ValueError(
                f'{path}: the image {wrong[0]!r} is no absolute path; expected {expected}'
            )
        images = Listing(
            np.asarray(names, np.str_),
            arrays['identity'],
            arrays['camera'],
            arrays.get('identity_name'),
            arrays.get('camera_name'),
        )
        return Features(images, arrays['features'], run)


def _no_file(folder: pathlib.Path) -> str:
    """Says what a folder is, and how a run's becomes features."""
    if not (folder / 'config.json').is_file():
        return f'{folder} is a folder; expected a file of features, such as jreid extract writes'
    kept = folder / 'features.npz'
    return (
        f'{folder} is a run; expected features: jreid extract {folder} IMAGES --out=FILE.npz'
        f'{f" writes them; or its target{chr(39)}s, {kept}" if kept.is_file() else " writes them"}'
    )


HERE = '.'
"""The run in a features file that a run keeps in its own folder, so that it can be moved."""


def check_path(path: str | os.PathLike[str], format: str) -> pathlib.Path:
    """Returns the path of a features file after checking it against the format.

    Raises:
      ValueError: another suffix, no such format, or a folder.
      NotADirectoryError: a folder above it is a file.
      MissingWriterError: Parquet without pyarrow.
    """
    final = pathlib.Path(path)
    if format not in FORMATS:
        raise ValueError(f'the format is {format!r}; expected {", ".join(FORMATS)}')
    if final.suffix != f'.{format}':
        raise ValueError(
            f'the file of features is {str(final)!r}; as {format} it needs the suffix .{format}'
            f' (formats: {", ".join(FORMATS)})'
        )
    if final.is_dir():
        raise ValueError(f'{final} is a folder; expected the name of a file to write')
    check_place(final)
    if format == 'parquet':
        _pyarrow()
    return final


def format_of(path: str | os.PathLike[str]) -> str:
    """Returns the format that a path's suffix names; 'npz' where it names none."""
    suffix = pathlib.Path(path).suffix.removeprefix('.')
    return suffix if suffix in FORMATS else 'npz'


def _fits(arrays: dict[str, np.ndarray]) -> bool:
    """Returns whether the arrays of a file have the types and lengths of `Features`."""
    names, features = arrays['path'], arrays['features']
    n = len(np.atleast_1d(names))
    words = [arrays[name] for name in ('identity_name', 'camera_name') if name in arrays]
    return (
        names.shape == (n,)
        and arrays['run'].shape == ()
        and {names.dtype.kind, arrays['run'].dtype.kind} == {'U'}
        and all(
            arrays[name].shape == (n,) and arrays[name].dtype.kind in 'iu'
            for name in ('identity', 'camera')
        )
        and all(array.shape == (n,) and array.dtype.kind == 'U' for array in words)
        and features.ndim == 2
        and len(features) == n
        and features.dtype.kind == 'f'
    )


def _to_npz(features: Features, path: pathlib.Path) -> None:
    images = features.images
    arrays = {field.name: getattr(images, field.name) for field in dataclasses.fields(images)}
    np.savez(path, features=features.features, run=np.asarray(features.run), **arrays)


def _to_csv(features: Features, path: pathlib.Path) -> None:
    """Writes image, identity, camera and one column per number, with all digits of float32."""
    images, width = features.images, features.features.shape[1]
    identity, camera = images.names('identity'), images.names('camera')
    with open(path, 'w', newline='', encoding='utf-8') as file:
        rows = csv.writer(file, lineterminator='\n')
        rows.writerow(['image', 'identity', 'camera', *(f'feature_{i}' for i in range(width))])
        for i in range(len(images)):
            labels = (images.path[i], identity[i], camera[i])
            # repr of a float32 is the shortest text that reads as the same number.
            rows.writerow([*map(str, labels), *map(str, features.features[i])])


def _to_parquet(features: Features, path: pathlib.Path) -> None:
    """Writes image, identity, camera (null where unknown) and a list of D floats per row."""
    arrow, images = _pyarrow(), features.images

    def known(label: str) -> Any:
        return arrow.array([text or None for text in images.names(label)], arrow.string())

    width = features.features.shape[1]
    flat = arrow.array(np.ascontiguousarray(features.features, np.float32).reshape(-1))
    table = arrow.table(
        {
            'image': arrow.array(images.path.tolist(), arrow.string()),
            'identity': known('identity'),
            'camera': known('camera'),
            'feature': arrow.FixedSizeListArray.from_arrays(flat, width),
        },
        metadata={'jreid.run': features.run},
    )
    importlib.import_module('pyarrow.parquet').write_table(table, path)


def _pyarrow() -> Any:
    try:
        return importlib.import_module('pyarrow')
    except ImportError as error:
        raise MissingWriterError(
            'the format parquet needs the package pyarrow, which is not installed: pip install'
            " 'jreid[parquet]'; the formats npz and csv need nothing"
        ) from error
