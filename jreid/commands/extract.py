"""`jreid extract RUN IMAGES... --out FILE.npz`: writes a run's features of images."""

import argparse
import csv
import dataclasses
import logging
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from jreid.commands import console
from jreid.data.archive import read_arrays
from jreid.data.datasets.listing import inside, whole
from jreid.data.decoding import UNREADABLE, BadImageError
from jreid.files import replacing
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import load_run

log = logging.getLogger('jreid')

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')
UNKNOWN = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """Images for a model.

    Attributes:
      path: [N] str, absolute.
      identity, camera: [N] int32, -1 where unknown.
    """

    path: np.ndarray
    identity: np.ndarray
    camera: np.ndarray

    def __len__(self) -> int:
        return len(self.path)


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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the `.npz` file, whole or not at all."""
        final = pathlib.Path(path)
        if final.suffix != '.npz':
            raise ValueError(
                f'features are kept in .npz files, but the path is {str(final)!r}; give it the'
                ' suffix .npz'
            )
        arrays = {
            field.name: getattr(self.images, field.name)
            for field in dataclasses.fields(self.images)
        }
        with replacing(final) as temporary:
            np.savez(temporary, features=self.features, run=np.asarray(self.run), **arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> 'Features':
        """Reads what `save` wrote.

        Raises:
          ValueError: the file is damaged or another kind of file.
        """
        expected = 'a file that jreid extract wrote'
        arrays = read_arrays(
            path, ('path', 'identity', 'camera', 'features', 'run'), expected=expected
        )
        names, features, n = arrays['path'], arrays['features'], len(np.atleast_1d(arrays['path']))
        texts = (
            names.shape == (n,)
            and arrays['run'].shape == ()
            and {names.dtype.kind, arrays['run'].dtype.kind} == {'U'}
        )
        labels = all(
            arrays[name].shape == (n,) and arrays[name].dtype.kind in 'iu'
            for name in ('identity', 'camera')
        )
        if (
            not texts
            or not labels
            or features.ndim != 2
            or len(features) != n
            or features.dtype.kind != 'f'
        ):
            forms = ', '.join(
                f'{name} {array.dtype} {array.shape}' for name, array in arrays.items()
            )
            raise ValueError(f'{path}: {forms}; expected {expected}')
        if wrong := [str(name) for name in names if not whole(str(name))]:
            raise ValueError(
                f'{path}: the image {wrong[0]!r} is no absolute path; expected {expected}'
            )
        return Features(
            Listing(names, arrays['identity'], arrays['camera']), features, str(arrays['run'])
        )


def listing(
    names: Sequence[str | os.PathLike[str]], *, root: str | os.PathLike[str] | None = None
) -> Listing:
    """Lists the images that files, folders and CSV files name, in this order.

    The images of a folder and of the folders within come sorted by name. A CSV file has a column
    `image` (or `path`), relative to its own folder, and may have numbers `identity` and `camera`.

    Args:
      names: image files, folders and CSV files.
      root: the folder that all images of a CSV file must lie in; None for the file's own.

    Raises:
      FileNotFoundError: a name is neither file nor folder.
      ValueError: a CSV file that cannot be read, lacks its column or names an image outside `root`,
        a label that is no number, or no image at all.
    """
    paths: list[str] = []
    labels: list[tuple[int, int]] = []
    for name in names:
        place = pathlib.Path(name).expanduser().absolute()
        if place.is_dir():
            images = sorted(
                str(path) for path in place.rglob('*') if path.suffix.lower() in SUFFIXES
            )
        elif place.suffix.lower() == '.csv' and place.is_file():
            rows = _rows(
                place, pathlib.Path(root).expanduser().absolute() if root else place.parent
            )
            paths += [path for path, *_ in rows]
            labels += [(identity, camera) for _, identity, camera in rows]
            continue
        elif place.is_file():
            images = [str(place)]
        else:
            raise FileNotFoundError(f'{name} is no image, folder or CSV file')
        paths += images
        labels += [(UNKNOWN, UNKNOWN)] * len(images)
    if not paths:
        raise ValueError(
            f'no image in {", ".join(map(str, names))}; looked for {", ".join(SUFFIXES)}'
        )
    table = np.asarray(labels, np.int32)
    return Listing(np.asarray(paths, np.str_), table[:, 0], table[:, 1])


def _rows(path: pathlib.Path, root: pathlib.Path) -> list[tuple[str, int, int]]:
    rows = []
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            column = next(
                (name for name in ('image', 'path') if name in (reader.fieldnames or ())), None
            )
            if column is None:
                raise ValueError(
                    f'{path} has columns {", ".join(reader.fieldnames or ()) or "none"}; expected'
                    " one called 'image'"
                )
            for number, row in enumerate(reader, 2):
                try:
                    identity, camera = (_label(row.get(name)) for name in ('identity', 'camera'))
                except ValueError as error:
                    raise ValueError(
                        f'{path}, line {number}: {error}; identity and camera are numbers'
                    ) from error
                rows.append((_image(path, row[column] or '', root, number), identity, camera))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path} cannot be read as a CSV file in UTF-8: {error}') from error
    return rows


def _label(text: str | None) -> int:
    value = int(text or UNKNOWN)
    if not UNKNOWN <= value < 1 << 31:
        raise ValueError(f'{value} is out of range')
    return value


def _image(table: pathlib.Path, name: str, root: pathlib.Path, number: int) -> str:
    path = inside(root, os.path.join(os.path.normpath(table.parent), name)) if name else None
    if path is None:
        raise ValueError(
            f'{table}, line {number}: the image {name!r} leads out of {root} or holds control'
            ' characters; --root names another folder'
        )
    return path


def extract(
    run: str | pathlib.Path,
    images: Listing,
    *,
    checkpoint: str = 'auto',
    batch: int = 128,
    skip_bad: bool = False,
    progress: bool = True,
) -> Features:
    """Computes the features of images with a run's model.

    Args:
      run, checkpoint, batch: see `jreid.load_run`.
      images: the images.
      skip_bad: leave unreadable images out, with a warning, instead of raising an error.
      progress: show a progress bar.

    Raises:
      BadImageError: an image cannot be read.
    """
    embed, _ = load_run(run, checkpoint=checkpoint, batch=batch)
    blocks, kept, bad = [], [], []
    with tqdm(
        total=len(images), desc='features', unit='img', disable=not progress, mininterval=0.5
    ) as bar:
        for start in range(0, len(images), batch):
            rows = list(range(start, min(start + batch, len(images))))
            try:
                blocks.append(embed(images.path[rows].tolist()))
                kept += rows
            except (BadImageError, *UNREADABLE):
                if not skip_bad:
                    raise
                for row in rows:
                    try:
                        blocks.append(embed([str(images.path[row])]))
                        kept.append(row)
                    except (BadImageError, *UNREADABLE):
                        bad.append(str(images.path[row]))
            bar.update(len(rows))
    if bad:
        log.warning(
            '%d of %d images cannot be read and are left out, e.g. %s',
            len(bad),
            len(images),
            bad[0],
        )
    if not kept:
        raise ValueError(f'none of {len(images)} images can be read, e.g. {bad[0]}')
    listed = Listing(*(getattr(images, field.name)[kept] for field in dataclasses.fields(images)))
    return Features(
        listed, np.concatenate(blocks).astype(np.float32), str(pathlib.Path(run).absolute())
    )


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid extract') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes a run's features of images, with their paths, to an .npz file.",
        allow_abbrev=False,
    )
    parser.add_argument('run', help="the run's folder")
    parser.add_argument(
        'images',
        nargs='+',
        help='image files, folders, or CSV files with a column image (and identity, camera)',
    )
    parser.add_argument(
        '--root', help="folder that the images of a CSV file must lie in (default: the file's own)"
    )
    parser.add_argument('--out', required=True, help='the .npz file')
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    parser.add_argument('--batch', type=int, default=128, help='images per step (default: 128)')
    parser.add_argument('--skip-bad', action='store_true', help='leave unreadable images out')
    arguments = parser.parse_args(words)
    console.show_log()
    try:
        features = extract(
            arguments.run,
            listing(arguments.images, root=arguments.root),
            checkpoint=arguments.checkpoint,
            batch=arguments.batch,
            skip_bad=arguments.skip_bad,
        )
        features.save(arguments.out)
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    count, width = features.features.shape
    print(f'{arguments.out}: {count:,} images, {width} numbers each')
    return 0


if __name__ == '__main__':
    sys.exit(main())
