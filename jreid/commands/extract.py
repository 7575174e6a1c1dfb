"""`jreid extract RUN IMAGES... --out FILE.npz`: writes a run's features of images."""

import argparse
import dataclasses
import logging
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from jreid.commands import console
from jreid.commands.foreign import is_foreign, read_foreign
from jreid.data.archive import read_arrays
from jreid.data.datasets.listing import whole
from jreid.data.decoding import UNREADABLE, BadImageError
from jreid.data.images import UNKNOWN as UNKNOWN
from jreid.data.images import Listing as Listing
from jreid.data.images import listing as listing
from jreid.files import replacing
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import load_run

log = logging.getLogger('jreid')


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
        """Reads what `save` wrote, or features of another program, whose `run` is ''.

        Raises:
          ValueError: the file is damaged or another kind of file.
        """
        if is_foreign(path):
            return Features(*read_foreign(path), '')
        expected = 'a file that jreid extract wrote'
        arrays = read_arrays(
            path,
            ('path', 'identity', 'camera', 'features', 'run'),
            optional=('identity_name', 'camera_name'),
            expected=expected,
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
        ) and all(
            arrays[name].shape == (n,) and arrays[name].dtype.kind == 'U'
            for name in ('identity_name', 'camera_name')
            if name in arrays
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
        images = Listing(
            names,
            arrays['identity'],
            arrays['camera'],
            arrays.get('identity_name'),
            arrays.get('camera_name'),
        )
        return Features(images, features, str(arrays['run']))


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
        total=len(images),
        desc='features',
        unit='img',
        disable=None if progress else True,
        mininterval=0.5,
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
    return Features(
        images.take(kept),
        np.concatenate(blocks).astype(np.float32),
        str(pathlib.Path(run).absolute()),
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
            listing(
                arguments.images,
                root=arguments.root,
                bad_files='skip' if arguments.skip_bad else 'error',
            ),
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
