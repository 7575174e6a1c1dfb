"""The probes of NIEC: source identities whose labels are hidden, and the score on them."""

import math

import jax
import numpy as np
from jaxtyping import Array, Int

from jreid.clustering.scores import cluster_accuracy


def probe_identities(
    key: Array, identities: int, fraction: float, splits: int | None = 1
) -> list[np.ndarray]:
    """Draws disjoint sets of probes from the identities 0..identities-1, see `probe_counts`."""
    size, sets = probe_counts(identities, fraction, splits)
    order = np.asarray(jax.random.permutation(key, identities))
    return [np.sort(order[i * size : (i + 1) * size]) for i in range(sets)]


def probe_counts(identities: int, fraction: float, splits: int | None) -> tuple[int, int]:
    """Returns the number of probes per set, and the number of disjoint sets.

    A set has `fraction` of all identities, at least one and never all.

    Args:
      splits: number of sets, as far as there are identities. None gives enough for 40 probes in
        all, with at most 1 / fraction sets.
    """
    size = min(max(1, round(identities * fraction)), identities - 1)
    if splits is None:
        splits = min(math.ceil(40 / size), math.floor(1 / fraction + 1e-9))
    return size, max(1, min(splits, identities // size))


def probe_accuracy(
    true: Int[np.ndarray, ' n'], predicted: Int[np.ndarray, ' n'], anchors: int
) -> float:
    """Computes ACC (Eq. 11) of the probes of constrained k-means.

    Clusters below `anchors` belong to the anchors, so a probe in one of them is wrong.
    """
    free = predicted >= anchors
    return cluster_accuracy(true[free], predicted[free]) * float(free.mean()) if free.any() else 0.0
