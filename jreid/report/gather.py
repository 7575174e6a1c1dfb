"""Reads a run's folder into plain values for a page."""

import base64
import csv
import io
import json
import logging
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jreid.figures import curves
from jreid.report import thumbnails
from jreid.report.people import Number, grouped, purity, ranked, read_labels
from jreid.run import places
from jreid.run.config import flat_config
from jreid.run.rankings import Ranking
from jreid.run.records import PURITY
from jreid.run.summary import TITLES

log = logging.getLogger('jreid')

__all__ = ['differing', 'history', 'points', 'predicted', 'read_labels', 'run', 'sweep']


def run(
    folder: pathlib.Path,
    number: Number,
    ranking: Ranking | None,
    *,
    queries: int,
    top: int,
    clusters: int,
    cluster_images: int,
    root: str = '',
) -> dict[str, Any]:
    """Reads what the page shows of a run.

    Args:
      folder: the run's folder.
      number: registers images.
      ranking: the run's ranked results; None for a run without retrieval.
      queries: greatest number of queries, evenly over their average precision; 0 for all.
      top: greatest number of gallery images per query.
      clusters: greatest number of clusters, the largest ones; 0 for all.
      cluster_images: greatest number of images per cluster.
      root: where the images lie now, if elsewhere than the run knows.

    Raises:
      FileNotFoundError: the folder holds no finished run.
    """
    missing = [name for name in ('summary.json', 'config.json') if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f'{folder} holds no finished run: {", ".join(missing)} missing')
    summary = json.loads((folder / 'summary.json').read_text())
    rows = {
        TITLES.get(name, name): row
        for name, row in summary.items()
        if isinstance(row, dict) and ('mAP' in row or 'attributes' in row or 'parsing' in row)
    }
    labels = sorted((folder / 'labels').glob('target_*.csv'))
    config = flat_config(json.loads((folder / 'config.json').read_text()))
    bases = places.of_run(folder, root=root)
    refreshes = [
        record for record in records(folder / 'metrics.jsonl') if record.get('kind') == 'refresh'
    ]
    true = summary.get('identities_true')
    plane = points(folder / 'figures' / 'tsne.csv')
    return {
        'name': folder.name,
        'title': (
            f'{places.heading(summary["source"], summary["target"], " to ")},'
            f' {summary["variant"]}, seed {summary.get("seed", 0)}'
        ),
        'summary': {name: value for name, value in summary.items() if not isinstance(value, dict)},
        'timing': summary.get('timing', {}),
        'machine': summary.get('machine', {}),
        'rows': {
            name: {key: value for key, value in row.items() if not isinstance(value, list | dict)}
            for name, row in rows.items()
            if 'mAP' in row
        },
        'cmc': {name: row['cmc'] for name, row in rows.items() if row.get('cmc')},
        'verification': {
            name: row['verification'] for name, row in rows.items() if row.get('verification')
        },
        'attributes': [
            predicted(name, role, row[kind][role])
            for name, row in rows.items()
            for kind in ('attributes', 'parsing')
            for role in row.get(kind, {})
        ],
        'config': {name: json.dumps(value) for name, value in config.items()},
        'curves': history(folder / 'metrics.jsonl'),
        'sweeps': [
            chosen(sweep(path), path, refreshes, true)
            for path in sorted((folder / 'labels').glob('niec_*.csv'))
        ],
        'points': plane,
        # of a run from before the points were kept
        'tsne': whole(folder / 'figures' / 'tsne.png') if ranking and not plane else None,
        'ranked': (
            ranked(ranking, number, queries=queries, top=top) if ranking is not None else None
        ),
        'clusters': (
            grouped(
                labels[-1],
                number,
                clusters=clusters,
                images=cluster_images,
                bases=bases,
                purity=purity(folder / 'labels' / PURITY),
            )
            if labels
            else None
        ),
    }


def records(path: pathlib.Path) -> Sequence[Mapping[str, Any]]:
    """Reads the records of a `metrics.jsonl`, none where the file is missing."""
    return curves.read_records(path) if path.is_file() else []


def history(path: pathlib.Path) -> dict[str, Any]:
    """Reads a run's curves, and the steps where labels were refreshed and phases began."""
    read = records(path)
    panels = curves.lines_by_panel(read)
    events, phase = [], None
    for record in read:
        if record.get('kind') == 'refresh':
            events.append({'at': record['step'], 'what': 'refresh', 'kind': 'refresh'})
        if record.get('phase') != phase:
            phase = record.get('phase')
            events.append({'at': record['step'], 'what': f'phase {phase}'})
    plain = {
        panel: [
            {
                'name': _worded(name) if panel == 'score' else name,
                'x': _plain(x),
                'y': _plain(y),
            }
            for name, (x, y) in named.items()
        ]
        for panel, named in panels.items()
        if named
    }
    return {'panels': plain, 'events': events}


def predicted(row: str, role: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a table of the scores per attribute, or of the IoU per body part.

    Args:
      row: title of the summary's row.
      role: 'target' or 'source', whose test split was scored.
      metrics: the row's entry for attributes or for parsing.
    """
    if 'miou' in metrics:
        body = [[name, [value]] for name, value in metrics['each'].items()]
        columns, last = ['IoU'], [metrics['miou']]
        title = f'body parts on the {role}, pixels right: {metrics["pixel_accuracy"]:.1f} %'
    else:
        columns = ['positives', 'accuracy', 'balanced_accuracy', 'f1']
        body = [
            [name, [values[column] for column in columns]]
            for name, values in metrics['each'].items()
        ]
        last = [metrics.get(column) for column in columns]
        title = f'attributes on the {role}, {metrics["images"]:,} images'
    return {
        'title': f'{row}: {title}, percent',
        'columns': [column.replace('_', ' ') for column in columns],
        'body': body,
        'last': last,
    }


def points(path: pathlib.Path) -> dict[str, list[Any]] | None:
    """Reads the points of t-SNE as columns: domain, row, label (None for none), x and y.

    Returns None where the file is missing.

    Raises:
      ValueError: the file holds no points.
    """
    if not path.is_file():
        return None
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        columns: dict[str, list[Any]] = {
            'domain': [row['domain'] for row in rows],
            'row': [int(row['row']) for row in rows],
            'label': [int(row['label']) if row['label'] else None for row in rows],
            'x': [float(row['x']) for row in rows],
            'y': [float(row['y']) for row in rows],
        }
        # A page is JSON, which has no NaN, and draws in float64.
        if not rows or not all(abs(value) < 1e9 for name in 'xy' for value in columns[name]):
            raise ValueError('no point, or one that is not finite')
        return columns
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f'{path}: {error!r}; expected the points that a run wrote') from error


def sweep(path: pathlib.Path) -> dict[str, Any]:
    """Reads a sweep of the number of identities.

    Returns:
      The sweep's `name` and its scores by ascending total. As far as the file has them also
      `within` and `densest`, the totals that the cameras by themselves and DBSCAN name, and
      `chosen` and `source`, C* and the source's identities.

    Raises:
      ValueError: the file is not a sweep.
    """
    try:
        values = np.genfromtxt(path, delimiter=',', names=True)
        columns = {
            name: np.atleast_1d(values[name]).astype(np.float64) for name in ('total', 'silhouette')
        }
        if 'accuracy' in (values.dtype.names or ()):
            columns['accuracy'] = np.atleast_1d(values['accuracy']).astype(np.float64)
        numbers: dict[str, Any] = {
            name: int(np.atleast_1d(values[name])[0])
            for name in ('chosen', 'source', 'within', 'densest')
            if name in (values.dtype.names or ())
        }
    except (ValueError, IndexError, TypeError, StopIteration) as error:
        raise ValueError(
            f'{path} is no sweep of a run: {error}; expected the columns total and silhouette'
        ) from error
    order = np.argsort(columns['total'], kind='stable')
    return {
        'name': path.stem.replace('niec_', 'refresh '),
        **{name: _plain(column[order]) for name, column in columns.items()},
        **numbers,
    }


def chosen(
    swept: Mapping[str, Any],
    path: pathlib.Path,
    refreshes: Sequence[Mapping[str, Any]],
    true: int | None,
) -> dict[str, Any]:
    """Returns a sweep with the totals that its figures mark.

    Args:
      swept: the sweep, which says by itself what was chosen since its files do.
      path: its file, `niec_NNN.csv`, where NNN is the number of its refresh.
      refreshes: records of the run's refreshes, in order.
      true: number of identities of the target, None where nobody knows.

    Returns:
      the sweep with `chosen`, C*; `source`, the source's identities, which C* counts too; and
      `truth`, the total with the true number of the target's identities. All None where neither
      the file nor the run says.
    """
    if 'chosen' in swept and 'source' in swept:
        total, source = swept['chosen'], swept['source']
    else:
        number = path.stem.removeprefix('niec_')
        record = refreshes[int(number)] if number.isdigit() and int(number) < len(refreshes) else {}
        clusters, estimate = record.get('clusters'), record.get('identities_estimated')
        if clusters is None or estimate is None:
            return {**swept, 'chosen': None, 'source': None, 'truth': None}
        total, source = round(clusters), round(clusters - estimate)
    truth = None if true is None else source + int(true)
    return {**swept, 'chosen': total, 'source': source, 'truth': truth}


def whole(path: pathlib.Path, width: int = 900) -> str | None:
    """Encodes a figure for the page, at most `width` pixels wide; None where it is missing."""
    if not path.is_file():
        return None
    out = io.BytesIO()
    with Image.open(path) as figure:
        small = figure.convert('RGB')
        small.thumbnail((width, width), Image.Resampling.LANCZOS)
        small.save(out, thumbnails.kind().removeprefix('image/').upper(), quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _worded(score: str) -> str:
    """Names a score of the records in the summary's words: `adabn/rank1` -> its row and rank-1."""
    row, _, metric = score.rpartition('/')
    words = re.sub(r'^rank(?=\d)', 'rank-', metric)
    return f'{TITLES.get(row, row)}, {words}' if row else words


def _plain(values: np.ndarray) -> list[float | None]:
    """Rounds numbers to five digits; None stands for a number that is not finite."""
    return [
        float(f'{value:.5g}') if np.isfinite(value) else None
        for value in np.asarray(values, np.float64)
    ]


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the config fields in which runs differ."""
    names = sorted({name for one in runs for name in one['config']})
    return [name for name in names if len({one['config'].get(name) for one in runs}) > 1]
