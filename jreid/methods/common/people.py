"""Groups images into people by their features alone, without a label and without the source.

For a target without labels under a system that makes no pseudo labels, and for any folder of images
with a finished run.
"""

import logging

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from jreid.clustering import dbscan
from jreid.methods.common import grouping
from jreid.retrieval import jaccard

log = logging.getLogger('jreid')

K1, K2 = 8, 3
"""Of the k-reciprocal neighbourhoods; smaller than re-ranking's, since a person may have few
images.
"""
LIMIT = 0.7
"""The mean Jaccard distance up to which two groups are one person."""
EPS, MIN_SAMPLES = 0.5, 4
"""Of DBSCAN, for more than `LARGE` images."""
LARGE = 10_000
"""Most images whose pairs are held at once, in 2 GB."""
LEAST_PER_CAMERA = 8
"""Images of a camera whose mean says what the camera adds to all of them."""


def group_people(
    features: np.ndarray, cameras: np.ndarray | None = None, *, count: int | None = None
) -> np.ndarray:
    """Groups images into people.

    The distance of two images is the Jaccard distance of their k-reciprocal neighbourhoods, 1
    where they have no neighbour in common (Zhong et al. 2017, section 3). Groups are joined by the
    mean distance of their images, up to `LIMIT`; more than `LARGE` images are grouped by DBSCAN,
    whose memory is that of the neighbourhoods. Where every camera has images enough, features are
    compared less the mean of their camera.

    K1, K2 and LIMIT were chosen on the demo's generated people and on points around one centre per
    person. With them a person is rather split in two than joined with another.

    Args:
      features: [N, D], compared by Euclidean distance.
      cameras: [N]; None where they are unknown.
      count: the number of people where it is known; every image is then of one of them.

    Returns:
      int32 [N], 0 for the person with the most images; -1 for an image that is like no others.

    Raises:
      ValueError: fewer than two images, or a number of people that does not fit them.
    """
    n = len(features)
    if n < 2:
        raise ValueError(f'found {n} images; expected two or more, to tell who is on both')
    if count is not None and not 1 <= count <= n:
        raise ValueError(f'{count} people in {n:,} images; expected a number from 1 to {n:,}')
    if count is not None and n > LARGE:
        raise ValueError(
            f'the number of people is given for {n:,} images; it can be given for up to {LARGE:,}.'
            ' Leave it out'
        )
    known = cameras is not None and np.unique(cameras, return_counts=True)[1].min()
    if cameras is not None and known >= LEAST_PER_CAMERA:
        features = grouping.centred(features, cameras, 'camera')
    # Of a few images, most would be in each other's neighbourhoods.
    k1 = max(min(K1, n // 4), min(2, n - 1))
    graph = jaccard(features, k1=k1, k2=min(K2, k1), progress=n > 5000)
    if n > LARGE:
        log.info('%d images: grouped by density, without the distances of all pairs', n)
        return by_size(dbscan(graph, eps=EPS, min_samples=MIN_SAMPLES), alone=-1)
    distances = np.ones((n, n), np.float32)
    edges = graph.tocoo()
    distances[edges.row, edges.col] = edges.data
    distances = np.clip(np.minimum(distances, distances.T), 0, 1)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), 'average')
    if count is not None:
        return by_size(fcluster(tree, count, 'maxclust'), alone=0)
    return by_size(fcluster(tree, LIMIT, 'distance'), alone=-1)


def by_size(labels: np.ndarray, *, alone: int) -> np.ndarray:
    """Numbers groups by size, largest first; of equal ones the one with the first image.

    Args:
      labels: [N]; below 0 for none.
      alone: -1 takes groups of one image for none.
    """
    names, first, number, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    kept = (names >= 0) & ((sizes > 1) | (alone >= 0))
    order = [group for group in np.lexsort((first, -sizes)) if kept[group]]
    places = np.full(len(names), -1, np.int32)
    places[order] = np.arange(len(order))
    return places[number]
