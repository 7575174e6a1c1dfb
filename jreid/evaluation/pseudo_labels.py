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
    identity = dict(zip(truth.path.tolist(), truth.identity.tolist(), strict=True))
    true = np.asarray([identity[path] for path in images.path.tolist()])
    kept = (labels >= 0) & (true >= 0)
    if not kept.any():
        return {}
    table = np.zeros((labels.max() + 1, true.max() + 1), np.int64)
    np.add.at(table, (labels[kept], true[kept]), 1)
    return {
        'evaluation_rand': float(adjusted_rand_score(true[kept], labels[kept])),
        'evaluation_purity': float(table.max(1).sum() / kept.sum()),
    }
