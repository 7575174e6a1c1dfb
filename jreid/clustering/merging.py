"""Ward's hierarchy from weighted clusters upwards: every number of clusters from one merge list."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from jreid.clustering.checks import check_samples


class Merges(NamedTuple):
    """The merges of a hierarchy, in their order; after m of them k - m clusters are left.

    Attributes:
      kept: number of the cluster that stays.
      gone: number of the cluster that joins it.
      cost: by how much the sum of squared distances to the centroids rises.
    """

    kept: Int[np.ndarray, ' m']
    gone: Int[np.ndarray, ' m']
    cost: Float[np.ndarray, ' m']


def ward_merges(
    centroids: Float[np.ndarray, 'k d'], sizes: Int[np.ndarray, ' m'] | None = None
) -> Merges:
    """Merges clusters by Ward's criterion until one is left.

    Each merge joins the two clusters whose union raises the sum of squared distances to the
    centroids least, by n_a n_b / (n_a + n_b) ||c_a - c_b||^2. From single samples this is Ward's
    method; from the clusters of a k-means it is its continuation. Ties go to the lowest numbers.
    Memory is k x k float32, 0.4 GB for 10,000 clusters, so start from a k-means where there are
    more samples.

    Args:
      centroids: of the clusters to begin with.
      sizes: samples of each, at least 1; 1 each by default.

    Raises:
      ValueError: centroids that are not finite, or sizes that are not one count per centroid.

    Reference: Ward 1963; the update of the costs is Lance and Williams 1967.
    """
    x = np.asarray(check_samples('centroids', centroids), np.float32)
    k = len(x)
    if not np.isfinite(x).all():
        raise ValueError('some centroids are not finite; expected finite numbers')
    size = np.ones(k) if sizes is None else np.asarray(sizes, np.float64)
    if size.shape != (k,) or not (np.isfinite(size) & (size >= 1)).all():
        raise ValueError(f'sizes are {size.shape}; expected {k} numbers, 1 or more')
    x = x - np.average(x, axis=0, weights=size).astype(np.float32)
    costs = _costs(x, size)
    nearest = costs.argmin(1)
    least = costs[np.arange(k), nearest].astype(np.float64)
    kept, gone, cost = (np.zeros(k - 1, kind) for kind in (np.int64, np.int64, np.float64))
    for merge in range(k - 1):
        row = int(least.argmin())
        a, b = sorted((row, int(nearest[row])))
        kept[merge], gone[merge], cost[merge] = a, b, least[row]
        total = size + size[a] + size[b]
        united = (
            (size + size[a]) * costs[a] + (size + size[b]) * costs[b] - size * least[row]
        ) / total
        size[a] += size[b]
        united[[a, b]] = np.inf
        stale = np.flatnonzero((nearest == a) | (nearest == b))
        costs[a], costs[:, a] = united, united
        costs[b], costs[:, b], least[b] = np.inf, np.inf, np.inf
        nearer = united < least
        nearest[nearer], least[nearer] = a, united[nearer]
        for other in {a, *stale.tolist()} - {b}:
            nearest[other] = costs[other].argmin()
            least[other] = costs[other, nearest[other]]
    return Merges(kept, gone, cost)


def labels_after(merges: Merges, count: int, clusters: int) -> Int[np.ndarray, ' k']:
    """Returns for each of the k first clusters its number 0..clusters-1 once so many are left.

    Numbers ascend with the lowest first cluster that a cluster holds.

    Raises:
      ValueError: clusters not within 1..k.
    """
    if not 1 <= clusters <= count:
        raise ValueError(f'{clusters} clusters asked for of {count}; expected 1 to {count}')
    parent = np.arange(count)
    for a, b in zip(merges.kept[: count - clusters], merges.gone[: count - clusters], strict=True):
        parent[b] = a
    # A cluster joins one with a lower number, so one pass upwards finds every root.
    for cluster in range(count):
        parent[cluster] = parent[parent[cluster]]
    return np.unique(parent, return_inverse=True)[1]


def cluster_means(
    features: Float[Array | np.ndarray, 'n d'],
    clusters: Int[Array | np.ndarray, ' n'],
    largest: int | np.integer,
) -> Float[np.ndarray, 'k d']:
    """Returns the mean feature of each cluster, float32 [largest, D]; 0 where one is empty."""
    totals = np.zeros((largest, features.shape[1]), np.float64)
    np.add.at(totals, np.asarray(clusters), np.asarray(features))
    sizes = np.bincount(np.asarray(clusters), minlength=largest)
    return (totals / np.maximum(sizes, 1)[:, None]).astype(np.float32)


def _costs(x: Float[np.ndarray, 'k d'], size: Float[np.ndarray, ' k']) -> np.ndarray:
    """Returns the cost of every merge, float32, infinite on the diagonal; in blocks of rows."""
    squares = np.square(x).sum(1)
    costs = np.empty((len(x), len(x)), np.float32)
    for start in range(0, len(x), 1024):
        rows = slice(start, start + 1024)
        distance = squares[rows, None] - 2 * x[rows] @ x.T + squares
        weight = size[rows, None] * size / (size[rows, None] + size)
        costs[rows] = np.maximum(distance, 0) * weight
    np.fill_diagonal(costs, np.inf)
    return costs
