"""`jreid rank GALLERY.npz QUERY...`: the gallery images nearest to queries, as a table, a CSV
file and a sheet of images.
"""

import argparse
import csv
import io
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from jreid import figures
from jreid.commands import console
from jreid.commands.extract import UNKNOWN, Features, extract, listing
from jreid.files import write_text
from jreid.retrieval import Ranked, top_ranked
from jreid.run.checkpoints import CheckpointError

SHEET = 25
"""Queries on a sheet."""


def ranked(
    query: Features, gallery: Features, *, k: int = 10, other_cameras: bool = False
) -> Ranked:
    """The k nearest gallery images of every query by Euclidean distance.

    Args:
      other_cameras: leave out gallery images of the query's identity and camera, as evaluations do;
        needs both of both sides.

    Raises:
      ValueError: the features have different widths, or labels are missing.
    """
    if query.features.shape[1] != gallery.features.shape[1]:
        raise ValueError(
            f'queries have {query.features.shape[1]} numbers, the gallery'
            f' {gallery.features.shape[1]}; extract both with one run'
        )
    sides = (query.images, gallery.images)
    # Without labels nothing is left out: every query is a person of its own, whom the gallery does
    # not show.
    own = np.arange(len(query.images)) + int(gallery.images.identity.max(initial=0)) + 1
    query_ids = np.where(query.images.identity == UNKNOWN, own, query.images.identity)
    gallery_ids = np.maximum(gallery.images.identity, 0)
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
        cameras = (query.images.camera, gallery.images.camera)
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


def rows(query: Features, gallery: Features, found: Ranked) -> list[dict[str, str | int | float]]:
    """A row a query and rank: `query`, `rank`, `distance`, `image`, `identity`, `camera` (''
    where unknown).
    """
    lines: list[dict[str, str | int | float]] = []
    for i, path in enumerate(query.images.path):
        for j, row in enumerate(found.rows[i]):
            if row >= 0:
                labels = {
                    name: int(getattr(gallery.images, name)[row]) for name in ('identity', 'camera')
                }
                told = {name: '' if value == UNKNOWN else value for name, value in labels.items()}
                lines.append(
                    {
                        'query': str(path),
                        'rank': j + 1,
                        'distance': round(float(found.distances[i, j]), 4),
                        'image': str(gallery.images.path[row]),
                        **told,
                    }
                )
    return lines


def sheets(
    query: Features, gallery: Features, found: Ranked, out: pathlib.Path
) -> list[pathlib.Path]:
    """The queries with their images, 25 a sheet: `out`, then `out` with a number. Right and
    wrong are shown where the identities are known.
    """
    known = bool(
        (query.images.identity != UNKNOWN).all() and (gallery.images.identity != UNKNOWN).all()
    )
    written = []
    for number, start in enumerate(range(0, len(query.images), SHEET)):
        part = range(start, min(start + SHEET, len(query.images)))
        path = out if not number else out.with_name(f'{out.stem}-{number}{out.suffix}')
        files = [
            [str(gallery.images.path[j]) if j >= 0 else None for j in found.rows[i]] for i in part
        ]
        flags = [[bool(x) for x in found.correct[i]] for i in part] if known else None
        written.append(
            figures.ranked_sheet(
                path,
                [str(query.images.path[i]) for i in part],
                files,
                flags,
                top=found.rows.shape[1],
            )
        )
    return written


def main(
    arguments: Sequence[str] | None = None, *, prog: str = 'python -m jreid.commands.rank'
) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description='The gallery images nearest to queries.', allow_abbrev=False
    )
    parser.add_argument('gallery', help='features of the gallery, a file of jreid extract')
    parser.add_argument(
        'query',
        nargs='+',
        help='one .npz file of features; or images, folders, CSV files, whose features are made',
    )
    parser.add_argument(
        '--run', help="the run that makes the queries' features (default: the gallery's)"
    )
    parser.add_argument('--top', type=int, default=10, help='gallery images a query (default: 10)')
    parser.add_argument(
        '--other-cameras',
        action='store_true',
        help="leave out images of the query's own identity and camera, as evaluations do",
    )
    parser.add_argument('--sheet', type=pathlib.Path, help='PNG file of the images')
    parser.add_argument('--csv', type=pathlib.Path, help='CSV file of the table')
    given = parser.parse_args(arguments)
    console.talk()
    try:
        if given.top < 1:
            raise ValueError(f'--top is {given.top}; expected 1 or more')
        gallery = Features.load(given.gallery)
        single = given.query[0] if len(given.query) == 1 and given.query[0].endswith('.npz') else ''
        query = (
            Features.load(single)
            if single
            else extract(
                given.run or gallery.run, listing(given.query), progress=len(given.query) > 1
            )
        )
        found = ranked(query, gallery, k=given.top, other_cameras=given.other_cameras)
        lines = rows(query, gallery, found)
        print(_table(lines))
        if given.csv:
            out = io.StringIO()
            writer = csv.DictWriter(out, list(lines[0]), lineterminator='\n')
            writer.writeheader()
            writer.writerows(lines)
            write_text(given.csv, out.getvalue())
        for path in sheets(query, gallery, found, given.sheet) if given.sheet else ():
            print(path)
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _table(lines: Sequence[dict[str, str | int | float]]) -> str:
    text, before = [], None
    for line in lines:
        if line['query'] != before:
            before = line['query']
            text.append(str(before))
        labels = ''.join(
            f'  {name} {line[name]}' for name in ('identity', 'camera') if line[name] != ''
        )
        text.append(f'  {line["rank"]:>3}  {line["distance"]:>9.4f}  {line["image"]}{labels}')
    return '\n'.join(text)


if __name__ == '__main__':
    sys.exit(main())
