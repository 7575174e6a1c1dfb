"""Pseudo labels by density, as SSG makes them: neighbour graph, eps by the rho rule, DBSCAN.

Everything is sparse: memory grows with images x neighbours, never with images squared.
"""

import logging
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from jreid.clustering import dbscan
from jreid.clustering.merging import cluster_means
from jreid.retrieval import jaccard, nearest

log = logging.getLogger('jreid')


class Groups(NamedTuple):
    """Clusters of images.

    Attributes:
      labels: int32 [N]; -1 for noise.
      eps: what DBSCAN was run with.
      clusters: number of clusters.
    """

    labels: np.ndarray
    eps: float
    clusters: int


def group(
    graph: csr_matrix, *, eps: float, rho: float, min_samples: int, limit: float = np.inf
) -> Groups:
    """Clusters images by DBSCAN on a neighbour graph.

    Args:
      eps: greatest distance of neighbours; 0 to take it from this graph by the rho rule.
      rho: see `eps_by_rho`.
      min_samples: neighbours of a core image, itself included.
      limit: eps stays below this, the least distance of a pair that the graph does not store.
    """
    if not eps:
        # In the precision in which later rounds keep it.
        eps = float(np.float32(eps_by_rho(graph, rho)))
    if np.isfinite(limit):
        # The pairs that are not stored are at `limit` or farther, so with eps below it the graph's
        # DBSCAN is that of all pairs.
        eps = min(eps, float(np.nextafter(np.float32(limit), np.float32(0))))
    labels = dbscan(graph, eps=eps, min_samples=min_samples).astype(np.int32)
    return Groups(labels, eps, int(labels.max(initial=-1)) + 1)


def eps_by_rho(graph: csr_matrix, rho: float) -> float:
    """Returns the mean of the smallest share `rho` of the positive distances between images.

    Source: Fu et al. 2019 (SSG), section 3.3.

    Args:
      graph: distances of the nearest pairs of N images; pairs that are not stored count in the N (N
        - 1) / 2 and are farther than those that are.

    Raises:
      ValueError: rho is no share, or no stored pair has a distance above 0.
    """
    if not 0 < rho <= 1:
        raise ValueError(f'rho is {rho}; expected a share of the pairs, above 0 and at most 1')
    edges, n = coo_matrix(graph), graph.shape[0]
    between = edges.row != edges.col
    row, column = edges.row[between].astype(np.int64), edges.col[between]
    # A pair may be stored from one side or from both.
    pairs = np.minimum(row, column) * n + np.maximum(row, column)
    _, first = np.unique(pairs, return_index=True)
    distances = edges.data[between][first]
    positive = distances[distances > 0]
    if not len(positive):
        raise ValueError(
            f'all {len(distances):,} neighbouring pairs of {n:,} images have distance 0: the'
            ' features are the same for all images'
        )
    zeros = len(distances) - len(positive)
    count = max(round(rho * (n * (n - 1) // 2 - zeros)), 1)
    if count > len(positive):
        log.warning(
            'rho %g asks for the %d nearest pairs, the neighbour graph has %d; eps is their mean',
            rho,
            count,
            len(positive),
        )
        count = len(positive)
    return float(np.partition(positive, count - 1)[:count].mean(dtype=np.float64))


def euclidean_graph(features: np.ndarray, *, neighbours: int, progress: bool = False) -> csr_matrix:
    """Returns Euclidean distances to each image's nearest `neighbours` others.

    A pair is stored from either side that lists it.
    """
    near = nearest(features, features, k=neighbours + 1, progress=progress)
    n, width = near.index.shape
    entries = np.sqrt(near.squared).ravel(), near.index.ravel(), np.arange(n + 1) * width
    return csr_matrix(entries, shape=(n, n))


def reranked_graph(
    features: np.ndarray,
    source: np.ndarray | None,
    *,
    k1: int,
    k2: int,
    source_weight: float,
    progress: bool = False,
) -> csr_matrix:
    """Returns (1 - w) Jaccard distance of k-reciprocal neighbourhoods + w (s_i + s_j).

    s is from `source_distances` (Song et al. 2018, as SSG uses it). Pairs that are not stored have
    Jaccard distance 1 and so are at 1 - w or farther.

    Args:
      source: features of the source; None for w = 0.
      k1, k2: see `jreid.retrieval.jaccard`.
      source_weight: w.
    """
    graph = jaccard(features, k1=k1, k2=k2, progress=progress)
    if source is None or not source_weight:
        return graph
    s = source_distances(features, source, progress=progress)
    row = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    distances = (1 - source_weight) * graph.data + source_weight * (s[row] + s[graph.indices])
    entries = distances.astype(np.float32), graph.indices, graph.indptr
    return csr_matrix(entries, shape=graph.shape)


def source_distances(
    features: np.ndarray, source: np.ndarray, *, progress: bool = False
) -> np.ndarray:
    """Returns how far each target image is from the source, float32 [N] in 0..1.

    The minimum over source images of 1 - exp(-||t - s||^2), divided by the largest.
    """
    squared = nearest(features, source, k=1, progress=progress).squared[:, 0]
    distance = -np.expm1(-squared.astype(np.float64))
    return (distance / max(distance.max(), np.finfo(np.float64).tiny)).astype(np.float32)


def centred(features: np.ndarray, camera: np.ndarray, centring: str) -> np.ndarray:
    """Returns the features less the mean of their camera ('camera'), or unchanged ('none').

    What a camera adds to all its images (light, colour, background) is no part of an identity, yet
    it can be most of what k-means finds.
    """
    if centring == 'none':
        return features
    _, numbers = np.unique(camera, return_inverse=True)
    return features - cluster_means(features, numbers, int(numbers.max()) + 1)[numbers]


def alone(labels: np.ndarray) -> np.ndarray:
    """Returns labels in which every image that is noise is a cluster of its own, int64 [N]."""
    labels = np.asarray(labels, np.int64).copy()
    noise = np.flatnonzero(labels < 0)
    labels[noise] = labels.max(initial=-1) + 1 + np.arange(len(noise))
    return labels


def without_single(labels: np.ndarray) -> np.ndarray:
    """Returns labels 0, 1, ... in which a cluster of one image is noise."""
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    kept = sizes > 1
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return np.where(labels >= 0, number[np.maximum(labels, 0)], -1).astype(np.int32)
