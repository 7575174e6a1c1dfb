"""`jreid rank GALLERY.npz QUERY...`: shows the gallery images nearest to queries."""

import argparse
import csv
import io
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from jreid import figures
from jreid.commands import console
from jreid.commands.extract import UNKNOWN, Features, extract, listing
from jreid.commands.threshold import threshold
from jreid.data.images import matched
from jreid.files import check_target, write_text
from jreid.retrieval import Ranked, top_ranked
from jreid.run.checkpoints import CheckpointError

Row = dict[str, str | int | float]

SHEET = 25
"""Queries per sheet."""


def ranked(
    query: Features, gallery: Features, *, k: int = 10, other_cameras: bool = False
) -> Ranked:
    """Finds the k nearest gallery images of every query by Euclidean distance.

    Args:
      other_cameras: leave out gallery images with the query's identity and camera, as evaluations
        do. This needs identity and camera of every query and gallery image.

    Raises:
      ValueError: the features have different widths, or labels are missing.
    """
    if query.features.shape[1] != gallery.features.shape[1]:
        raise ValueError(
            f'queries have {query.features.shape[1]} numbers, the gallery'
            f' {gallery.features.shape[1]}; extract both with one run'
        )
    sides = matched(query.images, gallery.images)
    # A query without a label gets an identity that the gallery does not have, so that nothing is
    # left out.
    own = np.arange(len(query.images)) + int(sides[1].identity.max(initial=0)) + 1
    query_ids = np.where(sides[0].identity == UNKNOWN, own, sides[0].identity)
    gallery_ids = np.maximum(sides[1].identity, 0)
    cameras: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if other_cameras:
        lacking = [
            name
            for name in ('identity', 'camera')
            for side in sides
            if (getattr(side, name) == UNKNOWN).any()
        ]
        if lacking:
            raise ValueError(
                f'--other-cameras needs {" and ".join(dict.fromkeys(lacking))} of every image; give'
                ' them in a CSV file when extracting'
            )
        cameras = (sides[0].camera, sides[1].camera)
    k, progress = min(k, len(gallery.images)), len(query.images) > 1000
    return top_ranked(
        query.features,
        gallery.features,
        query_ids,
        gallery_ids,
        cameras[0],
        cameras[1],
        k=k,
        progress=progress,
    )


COLUMNS = ('query', 'rank', 'distance', 'image', 'identity', 'camera')


def rows(
    query: Features, gallery: Features, ranking: Ranked, *, same: float | None = None
) -> list[Row]:
    """Returns one row per query and rank.

    A row has `COLUMNS`; identity and camera are '' where unknown.

    Args:
      same: distance up to which an image counts as the query's person. Each row then ends with
        `person`, 'same' or 'unknown'.
    """
    lines: list[Row] = []
    for i, path in enumerate(query.images.path):
        for j, row in enumerate(ranking.rows[i]):
            if row >= 0:
                labels = {
                    name: str(getattr(gallery.images, f'{name}_name')[row])
                    for name in ('identity', 'camera')
                }
                lines.append(
                    {
                        'query': str(path),
                        'rank': j + 1,
                        'distance': round(float(ranking.distances[i, j]), 4),
                        'image': str(gallery.images.path[row]),
                        **{name: int(v) if v.isdecimal() else v for name, v in labels.items()},
                    }
                )
                if same is not None:
                    near = bool(ranking.distances[i, j] <= same)
                    lines[-1]['person'] = 'same' if near else 'unknown'
    return lines


def sheets(
    query: Features, gallery: Features, ranking: Ranked, out: pathlib.Path
) -> list[pathlib.Path]:
    """Draws the queries with their gallery images, 25 queries per sheet, and returns the files.

    The first file is `out`; a number is added to the names of the others. Right and wrong images
    are marked where the identities are known.

    Raises:
      FileNotFoundError: an image is not there, such as a frame of a video.
    """
    shown = np.unique(ranking.rows[ranking.rows >= 0])
    _check_files([*query.images.path, *gallery.images.path[shown]])
    known = bool(
        (query.images.identity != UNKNOWN).all() and (gallery.images.identity != UNKNOWN).all()
    )
    written = []
    for number, start in enumerate(range(0, len(query.images), SHEET)):
        part = range(start, min(start + SHEET, len(query.images)))
        path = out if not number else out.with_name(f'{out.stem}-{number}{out.suffix}')
        files = [
            [str(gallery.images.path[j]) if j >= 0 else None for j in ranking.rows[i]] for i in part
        ]
        flags = [[bool(x) for x in ranking.correct[i]] for i in part] if known else None
        written.append(
            figures.ranked_sheet(
                path,
                [str(query.images.path[i]) for i in part],
                files,
                flags,
                top=ranking.rows.shape[1],
            )
        )
    return written


def _check_files(paths: Sequence[str]) -> None:
    missing = [str(path) for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f'--sheet shows image files, and {len(missing):,} of the images are none, e.g.'
            f' {missing[0]} (moved, a frame of a video, or a row of another program without its'
            ' path); leave --sheet out'
        )


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid rank') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Shows the gallery images nearest to queries.', allow_abbrev=False
    )
    parser.add_argument('gallery', help='features of the gallery, a file of jreid extract')
    parser.add_argument(
        'query',
        nargs='+',
        help='one .npz file of features; or images, folders and CSV files to extract',
    )
    parser.add_argument(
        '--run', help="the run that extracts the queries' features (default: the gallery's)"
    )
    parser.add_argument(
        '--root', help='folder that the images of a CSV file must lie in (default: its own)'
    )
    parser.add_argument('--skip-bad', action='store_true', help='leave unreadable images out')
    parser.add_argument(
        '--top', type=int, default=10, help='gallery images per query (default: 10)'
    )
    parser.add_argument(
        '--other-cameras',
        action='store_true',
        help="leave out images of the query's own identity and camera, as evaluations do",
    )
    parser.add_argument(
        '--threshold',
        metavar='auto|X',
        help=(
            'say of every image whether it shows the same person: up to the distance X, or up to'
            ' the one that the run measured at a false positive rate of 0.001'
        ),
    )
    parser.add_argument('--sheet', type=pathlib.Path, help='PNG file of the images')
    parser.add_argument('--csv', type=pathlib.Path, help='CSV file of the table')
    arguments = parser.parse_args(words)
    console.show_log()
    try:
        if arguments.top < 1:
            raise ValueError(f'--top is {arguments.top}; expected 1 or more')
        for out in (arguments.csv, arguments.sheet):
            if out:
                check_target(out, [arguments.gallery, *arguments.query])
        gallery = Features.load(arguments.gallery)
        if len(arguments.query) == 1 and arguments.query[0].endswith(('.npz', '.npy')):
            query = Features.load(arguments.query[0])
        elif not (arguments.run or gallery.run):
            raise ValueError(
                f'{arguments.gallery} names no run to extract the queries with; give --run, or'
                ' features of the queries'
            )
        else:
            query = extract(
                arguments.run or gallery.run,
                listing(
                    arguments.query,
                    root=arguments.root,
                    bad_files='skip' if arguments.skip_bad else 'error',
                ),
                skip_bad=arguments.skip_bad,
                progress=len(arguments.query) > 1,
            )
        ranking = ranked(query, gallery, k=arguments.top, other_cameras=arguments.other_cameras)
        limit = threshold(arguments.threshold, gallery.run) if arguments.threshold else None
        same = limit.distance if limit else None
        lines = rows(query, gallery, ranking, same=same)
        print(_table(lines))
        if not lines:
            print('no gallery image is left for any query: all show its own identity and camera')
        if limit:
            print(_persons(query, lines, str(limit)))
        if arguments.csv:
            out = io.StringIO()
            columns = [*COLUMNS, *(['person'] if limit else [])]
            writer = csv.DictWriter(out, columns, lineterminator='\n')
            writer.writeheader()
            writer.writerows(lines)
            write_text(arguments.csv, out.getvalue())
        for path in sheets(query, gallery, ranking, arguments.sheet) if arguments.sheet else ():
            print(path)
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _table(lines: Sequence[Row]) -> str:
    text, query = [], None
    for line in lines:
        if line['query'] != query:
            query = line['query']
            text.append(str(query))
        labels = ''.join(
            f'  {name} {line[name]}' for name in ('identity', 'camera') if line[name] != ''
        )
        person = f'  {line["person"]:<7}' if 'person' in line else ''
        text.append(
            f'  {line["rank"]:>3}  {line["distance"]:>9.4f}{person}  {line["image"]}{labels}'
        )
    return '\n'.join(text)


def _persons(query: Features, lines: Sequence[Row], limit: str) -> str:
    """Sums up how many queries have an image of the same person, and by which threshold."""
    known = {line['query'] for line in lines if line['person'] == 'same'}
    count = sum(str(path) in known for path in query.images.path)
    return f'{limit}; {count} of {len(query.images)} queries have one, the others are unknown'


if __name__ == '__main__':
    sys.exit(main())
