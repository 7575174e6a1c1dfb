"""`jreid label RUN IMAGES... --identities --out=DIR`: groups images into people.

No label is needed, nor the run's own data: its features are grouped as
`jreid.methods.common.people` describes. `DIR/identities.csv` has one row per image, `DIR/people/`
one contact sheet per person.
"""

import argparse
import csv
import dataclasses
import io
import logging
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from jreid.commands import console
from jreid.commands.extract import UNKNOWN, Features, extract, listing
from jreid.figures import contact_sheet
from jreid.files import check_place, replacing
from jreid.methods.common.people import group_people
from jreid.run.checkpoints import CheckpointError

log = logging.getLogger('jreid')

SHEET = 96
"""Images on a contact sheet; of more, those nearest to the person's mean are shown."""


@dataclasses.dataclass(frozen=True, eq=False)
class People:
    """What `jreid label --identities` finds.

    Attributes:
      found: the images with their features.
      labels: int32 [N], the person of each image, the one with most images first; -1 where an image
        is like no others.
      distances: float32 [N] to the person's mean feature; infinite where there is none.
      root: folder of all images, which the paths in the CSV file are relative to.
    """

    found: Features
    labels: np.ndarray
    distances: np.ndarray
    root: pathlib.Path

    @property
    def count(self) -> int:
        """Returns the number of people."""
        return int(self.labels.max(initial=-1)) + 1


def people_of(
    features: Features, *, count: int | None = None, root: pathlib.Path | None = None
) -> People:
    """Groups images into people by their features.

    Args:
      root: folder of all images; None for the deepest one.
      count: the number of people where it is known.

    Raises:
      ValueError: fewer than two images, or more people than images.
    """
    camera = features.images.camera
    known = camera if (camera != UNKNOWN).all() else None
    labels = group_people(features.features, known, count=count)
    distances = np.full(len(labels), np.inf, np.float32)
    for person in range(int(labels.max(initial=-1)) + 1):
        own = features.features[labels == person]
        distances[labels == person] = np.sqrt(np.square(own - own.mean(axis=0)).sum(axis=1))
    paths = features.images.path.tolist()
    return People(
        features,
        labels,
        distances,
        root or pathlib.Path(os.path.commonpath([os.path.dirname(path) for path in paths])),
    )


def check_new(out: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a folder that is not there yet, or is empty.

    Raises:
      FileExistsError: it is there and not empty.
      NotADirectoryError: a folder above it is a file.
    """
    final = pathlib.Path(out)
    check_place(final)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise FileExistsError(f'{final} exists and is not empty; choose another folder')
    return final


def write(people: People, out: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `identities.csv` and `people/NNNN.png` in a new folder, whole or not at all.

    Raises:
      FileExistsError: the folder is there and not empty.
    """
    final = check_new(out)
    images, labels = people.found.images, people.labels
    relative = [os.path.relpath(path, people.root) for path in images.path.tolist()]
    with replacing(final) as folder:
        folder.mkdir()
        table = io.StringIO()
        rows = csv.writer(table, lineterminator='\n')
        rows.writerow(['image', 'identity', 'camera', 'distance'])
        for name, label, camera, distance in zip(
            relative, labels.tolist(), images.names('camera'), people.distances, strict=True
        ):
            rows.writerow(
                [
                    name,
                    '' if label < 0 else label,
                    camera,
                    '' if label < 0 else f'{distance:.4f}',
                ]
            )
        (folder / 'identities.csv').write_text(table.getvalue(), encoding='utf-8')
        for person in range(-1, people.count):
            own = np.flatnonzero(labels == person)
            if len(own):
                _sheet(folder / 'people', people, person, own)
    return final


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid label') -> int:
    """Runs the command and returns the exit status."""
    arguments = parser(prog).parse_args(words)
    console.show_log()
    try:
        check_new(arguments.out)  # before the minutes that features take
        features = extract(
            arguments.run,
            listing(
                arguments.images,
                root=arguments.root,
                bad_files='skip' if arguments.skip_bad else 'error',
            ),
            checkpoint=arguments.checkpoint,
            skip_bad=arguments.skip_bad,
        )
        named = [pathlib.Path(name).expanduser().absolute() for name in arguments.images]
        root = named[0] if len(named) == 1 and named[0].is_dir() else None
        people = people_of(features, count=arguments.people, root=root)
        out = write(people, arguments.out)
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    nobody = int((people.labels < 0).sum())
    print(
        f'{out}: {people.count:,} people in {len(people.labels):,} images, {nobody:,} like no'
        f' others; paths are relative to {people.root}'
    )
    return 0


def parser(prog: str) -> argparse.ArgumentParser:
    """Returns the parser of the command's words."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Groups any images into people with a finished run: a CSV file, and a contact'
        ' sheet per person.',
        allow_abbrev=False,
    )
    made.add_argument('run', help="the run's folder")
    made.add_argument('images', nargs='+', help='image files, folders or CSV files')
    made.add_argument('--identities', action='store_true', required=True, help='group into people')
    made.add_argument('--out', required=True, help='a new folder')
    made.add_argument('--people', type=int, help='the number of people, where it is known')
    made.add_argument('--root', help='folder that the images of a CSV file must lie in')
    made.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    made.add_argument('--skip-bad', action='store_true', help='leave unreadable images out')
    return made


def _sheet(folder: pathlib.Path, people: People, person: int, rows: np.ndarray) -> None:
    """Draws a person's images, the nearest to the mean first; of nobody, in the order of names."""
    shown = rows[np.argsort(people.distances[rows], kind='stable')][:SHEET]
    who = 'like no others' if person < 0 else f'person {person}'
    more = f', the nearest {len(shown)} of them' if len(shown) < len(rows) else ''
    contact_sheet(
        folder / ('nobody.png' if person < 0 else f'{person:04d}.png'),
        people.found.images.path[shown].tolist(),
        captions=[pathlib.Path(path).name for path in people.found.images.path[shown].tolist()],
        title=f'{who}: {len(rows):,} images{more}',
    )
