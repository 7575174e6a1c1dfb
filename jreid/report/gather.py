"""Reads a run's folder into plain values for a page."""

import csv
import json
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jreid.figures import curves
from jreid.run import places
from jreid.run.config import flat_config
from jreid.run.rankings import Ranking
from jreid.run.summary import TITLES

log = logging.getLogger('jreid')

Number = Callable[[str], int]
"""Image path -> its number on the page."""


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
    return {
        'name': folder.name,
        'title': (
            f'{summary["source"]} to {summary["target"]}, {summary["variant"]}, seed'
            f' {summary.get("seed", 0)}'
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
        'sweeps': [sweep(path) for path in sorted((folder / 'labels').glob('niec_*.csv'))],
        'ranked': (
            ranked(ranking, number, queries=queries, top=top) if ranking is not None else None
        ),
        'clusters': (
            grouped(labels[-1], number, clusters=clusters, images=cluster_images, bases=bases)
            if labels
            else None
        ),
    }


def history(path: pathlib.Path) -> dict[str, Any]:
    """Reads a run's curves, and the steps where labels were refreshed and phases began."""
    records = curves.read_records(path) if path.is_file() else []
    panels = curves.lines_by_panel(records)
    events, phase = [], None
    for record in records:
        if record.get('kind') == 'refresh':
            events.append({'at': record['step'], 'what': 'refresh'})
        if record.get('phase') != phase:
            phase = record.get('phase')
            events.append({'at': record['step'], 'what': f'phase {phase}'})
    plain = {
        panel: [{'name': name, 'x': _plain(x), 'y': _plain(y)} for name, (x, y) in named.items()]
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


def sweep(path: pathlib.Path) -> dict[str, Any]:
    """Reads a sweep of the number of identities.

    Raises:
      ValueError: the file is not a sweep.
    """
    try:
        values = np.genfromtxt(path, delimiter=',', names=True)
        columns = {
            name: np.atleast_1d(values[name]).astype(np.float64)
            for name in ('total', 'accuracy', 'silhouette')
        }
    except (ValueError, IndexError, TypeError, StopIteration) as error:
        raise ValueError(
            f'{path} is no sweep of a run: {error}; expected the columns total,accuracy,silhouette'
        ) from error
    order = np.argsort(columns['total'], kind='stable')
    return {
        'name': path.stem.replace('niec_', 'refresh '),
        **{name: _plain(column[order]) for name, column in columns.items()},
    }


def ranked(ranking: Ranking, number: Number, *, queries: int, top: int) -> dict[str, Any]:
    """Lists queries with their gallery images, and what the page filters them by."""
    chosen = even(ranking.average_precision, queries)
    rows = []
    for i in chosen:
        listed = [j for j in ranking.rows[i, :top] if j >= 0]
        ap = float(ranking.average_precision[i])
        rows.append(
            {
                'image': number(str(ranking.query_path[i])),
                'id': int(ranking.query_identity[i]),
                'camera': int(ranking.query_camera[i]),
                'name': pathlib.Path(str(ranking.query_path[i])).name,
                'ap': None if np.isnan(ap) else round(100 * ap, 1),
                'images': [number(str(ranking.gallery_path[j])) for j in listed],
                'ids': [int(ranking.gallery_identity[j]) for j in listed],
                'cameras': [int(ranking.gallery_camera[j]) for j in listed],
                'right': [int(x) for x in ranking.correct[i, : len(listed)]],
                'distances': [round(float(x), 3) for x in ranking.distances[i, : len(listed)]],
            }
        )
    return {'queries': rows, 'total': len(ranking.query_path)}


def even(scores: np.ndarray, count: int) -> np.ndarray:
    """Picks at most `count` rows, evenly from the lowest to the highest score; all for 0.

    The rows stay in order. Rows without a score (NaN) are picked only where the others are fewer
    than `count`.
    """
    if not count or count >= len(scores):
        return np.arange(len(scores))
    order = np.argsort(scores, kind='stable')  # NaN is last
    valid = order[: int((~np.isnan(scores)).sum())]
    pool = valid if len(valid) >= count else order
    return np.sort(pool[np.linspace(0, len(pool) - 1, count).round().astype(int)])


def grouped(
    path: pathlib.Path, number: Number, *, clusters: int, images: int, bases: Sequence[str] = ()
) -> dict[str, Any]:
    """Groups the pseudo labels of a file: the largest clusters, and images without a label.

    Args:
      path: the label file.
      number: registers images.
      clusters: greatest number of clusters; 0 for all.
      images: greatest number of images per cluster.
      bases: see `read_labels`.
    """
    members: dict[int, list[str]] = {}
    for image, label in read_labels(path, bases):
        members.setdefault(label, []).append(image)
    outside = members.pop(-1, [])
    order = sorted(members, key=lambda label: (-len(members[label]), label))
    shown = order[:clusters] if clusters else order
    return {
        'file': path.name,
        'total': len(members),
        'outside': {
            'count': len(outside),
            'images': [number(image) for image in _spread(outside, images)],
        },
        'sizes': [len(members[label]) for label in order],
        'clusters': [
            {
                'label': label,
                'count': len(members[label]),
                'images': [number(image) for image in _spread(members[label], images)],
            }
            for label in shown
        ],
    }


def read_labels(path: pathlib.Path, bases: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Reads (image, first label) of every row of a label file.

    Args:
      path: the label file.
      bases: folders that the images may lie in, the likeliest first.

    Raises:
      ValueError: the file is no label file, or names an image that no run writes: its path leads
        upwards (`..`) or holds control characters.
    """
    images, labels = [], []
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file)
            if not {'image', 'label'} <= set(reader.fieldnames or ()):
                raise ValueError('it has no columns image and label')
            for row in reader:
                images.append(row['image'] or '')
                labels.append(int(row['label']))
        images = places.lengthen(images, bases)
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f'{path} is no label file of a run: {error}') from error
    return list(zip(images, labels, strict=True))


def _spread(values: list[str], count: int) -> list[str]:
    """Picks at most `count` of the values, evenly."""
    if len(values) <= count:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, count).round().astype(int)]


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
