"""Pseudo labels by density: neighbour graph, eps by the rho rule, DBSCAN. What SSG does for each
part of the body.

Everything is sparse: memory grows with images x neighbours, never with images squared.
"""

import logging
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from jreid.clustering import dbscan
from jreid.retrieval import jaccard, nearest

log = logging.getLogger('jreid')


class Groups(NamedTuple):
    """Labels int32 [N] (-1: noise), the eps that they were found with, and the number of
    clusters.
    """

    labels: np.ndarray
    eps: float
    clusters: int


def group(
    graph: csr_matrix, *, eps: float, rho: float, min_samples: int, limit: float = np.inf
) -> Groups:
    """DBSCAN on a neighbour graph.

    Args:
      eps: greatest distance of neighbours; 0 to take it from this graph by the rho rule.
      limit: eps stays below this: the least distance of a pair that the graph does not store.
    """
    if not eps:
        eps = float(np.float32(eps_by_rho(graph, rho)))  # as it is kept for later rounds
    # The pairs that are not stored are at `limit` or farther, so with eps below it the graph's
    # DBSCAN is that of all pairs.
    eps = min(
        eps, float(np.nextafter(np.float32(limit), np.float32(0))) if np.isfinite(limit) else eps
    )
    labels = dbscan(graph, eps=eps, min_samples=min_samples).astype(np.int32)
    return Groups(labels, eps, int(labels.max(initial=-1)) + 1)


def eps_by_rho(graph: csr_matrix, rho: float) -> float:
    """The mean of the smallest share `rho` of the distances between different images that are not 0
    (Fu et al. 2019, SSG, section 3.3).

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
    low, high = (
        np.minimum(edges.row, edges.col)[between].astype(np.int64),
        np.maximum(edges.row, edges.col)[between],
    )
    # A pair may be stored from one side or from both.
    _, first = np.unique(low * n + high, return_index=True)
    distances = edges.data[between][first]
    positive = distances[distances > 0]
    if not len(positive):
        raise ValueError(
            f'all {len(distances):,} neighbouring pairs of {n:,} images have distance 0: the'
            ' features are the same for all images'
        )
    count = max(round(rho * (n * (n - 1) // 2 - (len(distances) - len(positive)))), 1)
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
    """Euclidean distances to each image's nearest `neighbours` others; a pair is stored from
    either side that lists it.
    """
    found = nearest(features, features, k=neighbours + 1, progress=progress)
    n, width = found.index.shape
    return csr_matrix(
        (np.sqrt(found.squared).ravel(), found.index.ravel(), np.arange(n + 1) * width),
        shape=(n, n),
    )


def reranked_graph(
    features: np.ndarray,
    source: np.ndarray | None,
    *,
    k1: int,
    k2: int,
    source_weight: float,
    progress: bool = False,
) -> csr_matrix:
    """(1 - w) Jaccard distance of k-reciprocal neighbourhoods + w (s_i + s_j), s from
    `source_distances` (Song et al. 2018, as SSG uses it).

    Pairs that are not stored have Jaccard distance 1 and so are at 1 - w or farther.
    """
    graph = jaccard(features, k1=k1, k2=k2, progress=progress)
    if source is None or not source_weight:
        return graph
    s = source_distances(features, source, progress=progress)
    row = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    distances = (1 - source_weight) * graph.data + source_weight * (s[row] + s[graph.indices])
    return csr_matrix(
        (distances.astype(np.float32), graph.indices, graph.indptr), shape=graph.shape
    )


def source_distances(
    features: np.ndarray, source: np.ndarray, *, progress: bool = False
) -> np.ndarray:
    """How far each target image is from the source, float32 [N] in 0..1: min over source images
    of 1 - exp(-||t - s||^2), divided by the largest.
    """
    squared = nearest(features, source, k=1, progress=progress).squared[:, 0]
    distance = -np.expm1(-squared.astype(np.float64))
    return (distance / max(distance.max(), np.finfo(np.float64).tiny)).astype(np.float32)


def cluster_means(features: np.ndarray, clusters: np.ndarray, largest: int) -> np.ndarray:
    """Mean feature of each cluster, float32 [largest, D]; 0 where a cluster is empty."""
    totals = np.zeros((largest, features.shape[1]), np.float64)
    np.add.at(totals, clusters, features)
    return (totals / np.maximum(np.bincount(clusters, minlength=largest), 1)[:, None]).astype(
        np.float32
    )


def centred(features: np.ndarray, camera: np.ndarray, centring: str) -> np.ndarray:
    """The features less the mean of their camera ('camera'), or as they are ('none').

    What a camera adds to all its images (light, colour, background) is no part of an identity, yet
    it can be most of what k-means finds.
    """
    if centring == 'none':
        return features
    _, numbers = np.unique(camera, return_inverse=True)
    return features - cluster_means(features, numbers, int(numbers.max()) + 1)[numbers]
