"""Compares pseudo labels with the true identities; training never reads the result."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from jreid.data import Index


def pseudo_label_quality(truth: Index, images: Index, labels: np.ndarray) -> dict[str, float]:
    """Compares pseudo labels with the true identities by adjusted Rand index and purity.

    Both are logged, and nothing in training reads them.

    Args:
      truth: the target's training split with its labels.
      images: the images that `labels` are for, some of those of `truth`.
      labels: int [N], -1 where an image has none; such images are not counted.
    """
    true, kept = _true(truth, images, labels)
    if not kept.any():
        return {}
    table = _table(true[kept], labels[kept])
    return {
        'evaluation_rand': float(adjusted_rand_score(true[kept], labels[kept])),
        'evaluation_purity': float(table.max(1).sum() / kept.sum()),
    }


def cluster_purity(truth: Index, images: Index, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns how pure every cluster is: columns of equal length, one row per cluster.

    The columns are `label`, `images` (those whose person is known), `people` (how many there are)
    and `purity` (the share of the most frequent one). Nothing in training reads them. Without any
    known person the result is empty.

    Args:
      truth, images, labels: see `pseudo_label_quality`.
    """
    true, kept = _true(truth, images, labels)
    if not kept.any():
        return {}
    table = _table(true[kept], labels[kept])
    label = np.flatnonzero(table.sum(1))
    counts = table[label].sum(1)
    return {
        'label': label,
        'images': counts,
        'people': (table[label] > 0).sum(1),
        'purity': table[label].max(1) / counts,
    }


def _true(truth: Index, images: Index, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images' true identities, and which have one and a pseudo label too."""
    identity = dict(zip(truth.path.tolist(), truth.identity.tolist(), strict=True))
    true = np.asarray([identity[path] for path in images.path.tolist()])
    return true, (labels >= 0) & (true >= 0)


def _table(true: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts images by pseudo label and person."""
    table = np.zeros((labels.max() + 1, true.max() + 1), np.int64)
    np.add.at(table, (labels, true), 1)
    return table
