"""`python -m jreid.report RUN... --out FILE`: a page of finished runs."""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

import jreid
from jreid.commands import console
from jreid.files import write_text
from jreid.report import gather, page, thumbnails

log = logging.getLogger('jreid')


def report(
    runs: Sequence[str | pathlib.Path],
    out: str | pathlib.Path,
    *,
    queries: int = 500,
    top: int = 10,
    clusters: int = 200,
    cluster_images: int = 12,
    height: int = 96,
    images: bool = True,
) -> pathlib.Path:
    """Write the page; returns its path.

    Args:
      runs: folders of finished runs.
      out: the HTML file.
      queries, top, clusters, cluster_images: see `gather.run`.
      height: of a picture, pixels.
      images: False leaves all pictures out, and what needs the network or the data set to be made.

    Raises:
      FileNotFoundError: a folder holds no finished run.
      ValueError: no run.
    """
    if not runs:
        raise ValueError('no run to report on; give the folders of finished runs')
    number = thumbnails.Images()
    limits = {
        'queries': queries,
        'top': top,
        'clusters': clusters,
        'cluster_images': cluster_images if images else 0,
    }
    found = []
    for folder in map(pathlib.Path, runs):
        found.append(gather.run(folder, number, _ranking(folder) if images else None, **limits))
    _tell_apart(found, [pathlib.Path(folder) for folder in runs])
    pictures, missing = thumbnails.encode(list(number.numbers), height=height)
    if missing:
        log.warning(
            '%d of %d images cannot be read and are left blank, e.g. %s',
            len(missing),
            len(pictures),
            missing[0],
        )
    title = (
        found[0]['title']
        if len(found) == 1
        else f'{len(found)} runs: ' + ', '.join(run['name'] for run in found)
    )
    data = {
        'runs': found,
        'differ': gather.differing(found),
        'media': thumbnails.kind(),
        'version': jreid.__version__,
    }
    path = pathlib.Path(out)
    write_text(path, page.render(title, data, pictures))
    return path


def _ranking(folder: pathlib.Path):
    """The ranked results that the run kept; of a run that kept none, made from its checkpoint."""
    from jreid.run.rankings import Ranking

    kept = Ranking.load(folder)
    if kept is not None or not (folder / 'config.json').is_file():
        return kept
    from jreid.commands import evaluate

    log.info('%s keeps no ranked results; making them from its checkpoint', folder)
    try:
        kept = evaluate.ranking_of_run(folder)
    except (FileNotFoundError, ValueError) as error:
        log.warning('%s: no ranked results: %s', folder, error)
        return None
    if kept is not None:
        kept.save(folder)
    return kept


def _tell_apart(found: list[dict], folders: list[pathlib.Path]) -> None:
    """Names of runs: the folder's, with its parents' where several are called alike."""
    for depth in range(1, max(len(folder.absolute().parts) for folder in folders)):
        names = ['/'.join(folder.absolute().parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    for run, name in zip(found, names, strict=True):
        run['name'] = name


def main(arguments: Sequence[str] | None = None, *, prog: str = 'python -m jreid.report') -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description='A page of finished runs: one HTML file with its images, no server.'
    )
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a finished run')
    parser.add_argument('--out', help="the file (default: report.html in the first run's folder)")
    parser.add_argument(
        '--queries',
        type=int,
        default=500,
        help=(
            'queries shown of a run, evenly over their average precision; 0 for all (default: 500)'
        ),
    )
    parser.add_argument(
        '--top',
        type=int,
        default=10,
        help='gallery images shown of a query, at most 20 (default: 10)',
    )
    parser.add_argument(
        '--clusters',
        type=int,
        default=200,
        help='clusters shown of a run, the largest; 0 for all (default: 200)',
    )
    parser.add_argument(
        '--cluster-images', type=int, default=12, help='images shown of a cluster (default: 12)'
    )
    parser.add_argument(
        '--height', type=int, default=96, help='height of an image in pixels (default: 96)'
    )
    parser.add_argument('--no-images', action='store_true', help='numbers and curves only')
    given = parser.parse_args(arguments)
    console.talk()
    limits = {
        'queries': given.queries,
        'top': given.top,
        'clusters': given.clusters,
        'cluster_images': given.cluster_images,
        'height': given.height,
    }
    wrong = [
        name
        for name, value in limits.items()
        if value < (0 if name in ('queries', 'clusters') else 1)
    ]
    if wrong:
        parser.error(
            f'--{wrong[0].replace("_", "-")} is {limits[wrong[0]]}; expected a positive number'
        )
    try:
        path = report(
            given.runs,
            given.out or pathlib.Path(given.runs[0]) / 'report.html',
            **limits,
            images=not given.no_images,
        )
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB)')
    return 0


if __name__ == '__main__':
    sys.exit(main())
