"""Lists the people of a run for a page: ranked results and clusters."""

import csv
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jreid.run import places
from jreid.run.rankings import Ranking

Number = Callable[[str], int]
"""Image path -> its number on the page."""


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
    return {
        'queries': rows,
        'total': len(ranking.query_path),
        'cameras': by_camera(ranking),
        'histogram': histogram(ranking.average_precision),
    }


def by_camera(ranking: Ranking) -> list[dict[str, Any]]:
    """Scores the queries of every camera: their number, mAP and rank-1 in percent.

    Queries without a match are not counted; cameras that have no others are left out.
    """
    ap, scores = ranking.average_precision, []
    for camera in np.unique(ranking.query_camera):
        own = (ranking.query_camera == camera) & ~np.isnan(ap)
        if own.any():
            scores.append(
                {
                    'camera': int(camera),
                    'queries': int(own.sum()),
                    'mAP': round(100 * float(ap[own].mean()), 2),
                    'rank1': round(100 * float(ranking.correct[own, 0].mean()), 2),
                }
            )
    return scores


def histogram(scores: np.ndarray, bins: int = 20) -> list[int] | None:
    """Counts average precisions 0..1 in `bins` equal bins; None where no query has one."""
    valid = scores[~np.isnan(scores)]
    if not valid.size:
        return None
    return np.histogram(valid, bins=bins, range=(0, 1))[0].tolist()


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
    path: pathlib.Path,
    number: Number,
    *,
    clusters: int,
    images: int,
    bases: Sequence[str] = (),
    purity: Mapping[int, tuple[int, float]] | None = None,
) -> dict[str, Any]:
    """Groups the pseudo labels of a file: the largest clusters, and images without a label.

    Args:
      path: the label file.
      number: registers images.
      clusters: greatest number of clusters; 0 for all.
      images: greatest number of images per cluster.
      bases: see `read_labels`.
      purity: label -> people and purity, see `purity`.
    """
    known = purity or {}
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
                **(
                    dict(zip(('people', 'purity'), known[label], strict=True))
                    if label in known
                    else {}
                ),
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


def purity(path: pathlib.Path) -> dict[int, tuple[int, float]]:
    """Reads label -> (people, purity) of a run's clusters; nothing where the file is missing.

    Raises:
      ValueError: the file is no such table.
    """
    if not path.is_file():
        return {}
    try:
        with open(path, newline='', encoding='utf-8') as file:
            return {
                int(row['label']): (int(row['people']), float(row['purity']))
                for row in csv.DictReader(file)
            }
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ValueError(
            f'{path} is no table of clusters of a run: {error!r}; expected the columns'
            ' label,images,people,purity'
        ) from error


def _spread(values: list[str], count: int) -> list[str]:
    """Picks at most `count` of the values, evenly."""
    if len(values) <= count:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, count).round().astype(int)]
