"""`jreid extract RUN IMAGES... --out FILE`: writes a run's features of images."""

import argparse
import dataclasses
import itertools
import logging
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from jreid.commands import console
from jreid.commands.feature_files import FORMATS, check_path, format_of
from jreid.commands.feature_files import Features as Features
from jreid.data import video
from jreid.data.decoding import UNREADABLE, BadImageError
from jreid.data.images import UNKNOWN as UNKNOWN
from jreid.data.images import Listing as Listing
from jreid.data.images import listing as listing
from jreid.files import check_target
from jreid.run.checkpoints import CheckpointError
from jreid.run.embedding import FeatureModel
from jreid.run.loading import load_run

log = logging.getLogger('jreid')


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


def of_video(model: FeatureModel, path: str, *, every: int = 1, progress: bool = True) -> Features:
    """Computes the features of a video's frames, whole; a batch of them is in memory at a time.

    Args:
      model: of `jreid.load_run`.
      every: only every so many frames are taken.
      progress: show a progress bar.

    Returns:
      The features, without labels and run; a frame is called `PATH#frame=NUMBER`, from 0.

    Raises:
      ValueError: the file is no video that can be read.
      MissingReaderError: PyAV is not installed.
    """
    place, blocks, names = pathlib.Path(path).expanduser().absolute(), [], []
    read = video.frames(place, every=every)
    with tqdm(desc='features', unit='img', disable=None if progress else True) as bar:
        while block := list(itertools.islice(read, model.batch)):
            blocks.append(model([frame for _, frame in block]))
            names += [f'{place}#frame={number}' for number, _ in block]
            bar.update(len(block))
    if not names:
        raise ValueError(f'{path} cannot be read as a video: it has no frame')
    unknown = np.full(len(names), UNKNOWN, np.int32)
    return Features(Listing(np.asarray(names), unknown, unknown), np.concatenate(blocks), '')


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid extract') -> int:
    """Runs the command and returns the exit status."""
    arguments = _parser(prog).parse_args(words)
    console.show_log()
    try:
        if arguments.batch < 1:
            raise ValueError(f'--batch is {arguments.batch}; expected 1 or more images per step')
        if arguments.every < 1:
            raise ValueError(f'--every is {arguments.every}; expected 1 (each frame) or more')
        format = arguments.format or format_of(arguments.out)
        # What cannot be written is said before the minutes that features take.
        check_path(arguments.out, format)
        check_target(arguments.out, arguments.images)
        features = _features(arguments)
        features.save(arguments.out, format=format)
    except (ImportError, OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    count, width = features.features.shape
    print(f'{arguments.out}: {count:,} images, {width} numbers each')
    return 0


def _features(arguments: argparse.Namespace) -> Features:
    """Computes what the words of the command line ask for."""
    videos = [name for name in arguments.images if video.is_video(name)]
    others = [name for name in arguments.images if not video.is_video(name)]
    for name in videos:  # before the minutes that features take
        video.check(pathlib.Path(name).expanduser())
    keywords = {'checkpoint': arguments.checkpoint, 'batch': arguments.batch}
    parts = []
    if others:
        bad_files = 'skip' if arguments.skip_bad else 'error'
        images = listing(others, root=arguments.root, bad_files=bad_files)
        parts.append(extract(arguments.run, images, skip_bad=arguments.skip_bad, **keywords))
    if videos:
        model = load_run(arguments.run, **keywords)
        parts += [of_video(model, name, every=arguments.every) for name in videos]
    return parts[0] if len(parts) == 1 and others else _joined(parts, arguments.run)


def _joined(parts: Sequence[Features], run: str) -> Features:
    """Puts features of one run one after the other; at most one part has labels."""
    names = [field.name for field in dataclasses.fields(Listing)]
    columns = [np.concatenate([getattr(part.images, name) for part in parts]) for name in names]
    features = np.concatenate([part.features for part in parts])
    return Features(Listing(*columns), features, str(pathlib.Path(run).absolute()))


def _parser(prog: str) -> argparse.ArgumentParser:
    """Returns the parser of the command's words."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes a run's features of images, with their paths, to a file.",
        allow_abbrev=False,
    )
    parser.add_argument('run', help="the run's folder")
    parser.add_argument(
        'images',
        nargs='+',
        help='image files, folders, CSV files with a column image (and identity, camera), or'
        " videos, whose frames are taken whole (pip install 'jreid[video]')",
    )
    parser.add_argument(
        '--root', help="folder that the images of a CSV file must lie in (default: the file's own)"
    )
    parser.add_argument('--out', required=True, help='the file: .npz, .parquet or .csv')
    parser.add_argument(
        '--format',
        choices=FORMATS,
        help='of the file (default: as its suffix says); jreid rank reads npz',
    )
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    parser.add_argument('--batch', type=int, default=128, help='images per step (default: 128)')
    parser.add_argument('--every', type=int, default=1, help='frames of a video: 1 in so many')
    parser.add_argument('--skip-bad', action='store_true', help='leave unreadable images out')
    return parser


if __name__ == '__main__':
    sys.exit(main())
