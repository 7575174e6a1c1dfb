"""`jreid report RUN... --out FILE`: makes a page of finished runs."""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

from jreid import __version__
from jreid.commands import console
from jreid.files import check_target, write_text
from jreid.report import gather, page, thumbnails
from jreid.run.rankings import Ranking

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
    root: str = '',
) -> pathlib.Path:
    """Writes the page and returns its path.

    Args:
      runs: folders of finished runs.
      out: the HTML file.
      queries, top, clusters, cluster_images: see `gather.run`.
      height: height of a picture in pixels.
      root: where the images lie now, if elsewhere than the runs know.
      images: False leaves out all pictures and whatever needs the network or the data set.

    Raises:
      OSError: a folder holds no finished run, or `out` is a folder.
      ValueError: no run.
    """
    if not runs:
        raise ValueError('no run to report on; give the folders of finished runs')
    path = pathlib.Path(out)
    check_target(path)
    number = thumbnails.Images()
    limits = {
        'queries': queries,
        'top': top,
        'clusters': clusters,
        'cluster_images': cluster_images if images else 0,
    }
    folders = [pathlib.Path(folder) for folder in runs]
    contents = [
        gather.run(folder, number, _ranking(folder, root) if images else None, root=root, **limits)
        for folder in folders
    ]
    for content, name in zip(contents, _distinct_names(folders), strict=True):
        content['name'] = name
    pictures, missing = thumbnails.encode(list(number.numbers), height=height)
    if missing:
        log.warning(
            '%d of %d images cannot be read and are left blank, e.g. %s',
            len(missing),
            len(pictures),
            missing[0],
        )
    title = (
        contents[0]['title']
        if len(contents) == 1
        else f'{len(contents)} runs: ' + ', '.join(content['name'] for content in contents)
    )
    data = {
        'runs': contents,
        'differ': gather.differing(contents),
        'media': thumbnails.kind(),
        'paths': list(number.numbers) if images else [],
        'version': __version__,
    }
    write_text(path, page.render(title, data, pictures))
    return path


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid report') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Makes a page of finished runs: one HTML file with its images, no server.',
    )
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a finished run')
    parser.add_argument('--out', help="the file (default: report.html in the first run's folder)")
    parser.add_argument(
        '--queries',
        type=int,
        default=500,
        help=(
            'queries shown per run, evenly over their average precision; 0 for all (default: 500)'
        ),
    )
    parser.add_argument(
        '--top',
        type=int,
        default=10,
        help='gallery images shown per query, at most 20 (default: 10)',
    )
    parser.add_argument(
        '--clusters',
        type=int,
        default=200,
        help='clusters shown per run, the largest; 0 for all (default: 200)',
    )
    parser.add_argument(
        '--cluster-images', type=int, default=12, help='images shown per cluster (default: 12)'
    )
    parser.add_argument(
        '--height', type=int, default=96, help='height of an image in pixels (default: 96)'
    )
    parser.add_argument(
        '--root', default='', help='folder of the data, if they lie elsewhere than the runs know'
    )
    parser.add_argument('--no-images', action='store_true', help='numbers and curves only')
    arguments = parser.parse_args(words)
    console.show_log()
    limits = {
        'queries': arguments.queries,
        'top': arguments.top,
        'clusters': arguments.clusters,
        'cluster_images': arguments.cluster_images,
        'height': arguments.height,
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
            arguments.runs,
            arguments.out or pathlib.Path(arguments.runs[0]) / 'report.html',
            **limits,
            images=not arguments.no_images,
            root=arguments.root,
        )
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB)')
    return 0


def _ranking(folder: pathlib.Path, root: str = '') -> Ranking | None:
    """Reads the run's ranked results, or makes and keeps them where the run has none."""
    kept = Ranking.load(folder, root=root)
    if kept is not None or not (folder / 'config.json').is_file():
        return kept
    # This import takes seconds, which a run with ranked results does not need.
    from jreid.commands import evaluate

    log.info('%s keeps no ranked results; making them from its checkpoint', folder)
    try:
        made = evaluate.ranking_of_run(folder)
    except (FileNotFoundError, ValueError) as error:
        log.warning('%s: no ranked results: %s', folder, error)
        return None
    if made is not None:
        made.save(folder)
    return made


def _distinct_names(folders: Sequence[pathlib.Path]) -> list[str]:
    """Returns the folders' names, with those of parents where several folders have one name."""
    for depth in range(1, max(len(folder.absolute().parts) for folder in folders)):
        names = ['/'.join(folder.absolute().parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


if __name__ == '__main__':
    sys.exit(main())
