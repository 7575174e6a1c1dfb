"""The number of identities by witnesses on the target: no label of either domain is read.

The target's features are clustered once, finely, by k-means; Ward's merges lead from there through
every smaller number of clusters. Up to three witnesses say which of these cuts the identities are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from jreid.clustering.dbscan import dbscan
from jreid.clustering.lloyd import kmeans
from jreid.clustering.merging import Merges, cluster_means, labels_after, ward_merges
from jreid.clustering.tiles import squared_distances

SINGLES = 4096
"""Up to so many samples Ward's method starts from single samples, which is exact."""

STEP = 0.015
"""Ratio of neighbouring numbers of clusters, less 1."""

EPS = np.arange(0.3, 0.81, 0.05)
"""The radii of the densities; below, images of one camera find only one another."""

MIN_SAMPLES = 4

CLEAR = 0.5
"""A mean silhouette from which the clusters are there (Kaufman and Rousseeuw 1990, table 4)."""

FEW = 0.1
"""A camera with a smaller share of the images that cameras have in the mean names no number."""


class Sweep(NamedTuple):
    """What the witnesses say.

    Attributes:
      clusters: [m] the numbers of target clusters tried, ascending.
      silhouette: [m] mean silhouette by Euclidean distance (CMM, Eq. 12), across cameras.
      within: the number of people that half the cameras see by themselves, 0 without cameras.
      density: the most clusters that DBSCAN finds, 0 without neighbourhoods.
      count: the median of the witnesses, or the first's number alone, see `ask_witnesses`.
      labels: [n] the clusters 0..count-1 at that cut.
    """

    clusters: Int[np.ndarray, ' m']
    silhouette: Float[np.ndarray, ' m']
    within: int
    density: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which has no use here
    labels: Int[np.ndarray, ' n']


def ask_witnesses(
    key: Array,
    target: Float[np.ndarray, 'n d'],
    candidates: Int[np.ndarray, ' m'],
    *,
    cameras: Int[np.ndarray, ' n'] | None = None,
    neighbourhoods: scipy.sparse.csr_matrix | None = None,
    sample: int = 4096,
    max_iterations: int = 100,
) -> Sweep:
    """Estimates which number of clusters is that of the identities.

    Up to three witnesses, of which the median counts, halves down:
      1. The number of clusters with the greatest mean silhouette across cameras: over images of
         other cameras only, and 0 where its cluster has none. Otherwise a cluster per person and
         camera scores best, since images of a person in one camera look most alike.
      2. The median over cameras of the number with the greatest mean silhouette of the camera's
         images alone, clustered alone: there people differ by less than light and viewpoint, so
         that features tell them apart before they do across cameras. It is too low where a person
         passes few of the cameras.
      3. The most clusters that DBSCAN finds on the distances of neighbourhoods, over its radius: a
         small one takes most images for noise, a large one merges people.
    Without cameras, or with one, the first is the plain silhouette, and there is no second; without
    neighbourhoods no third. Where the first's silhouette is `CLEAR` or more, it decides alone:
    DBSCAN needs a handful of images per person, and takes fewer for noise, and the second a few per
    person and camera.

    Args:
      candidates: the numbers of clusters to try, from 1 to n; in a camera up to half its images.
      cameras: of the samples; one of unknown camera, -1, is compared with those of all cameras.
      neighbourhoods: sparse n x n distances in [0, 1], 1 where none is stored, such as
        `jreid.retrieval.jaccard`.
      sample: images whose silhouettes are averaged, drawn with `key`; as many of all cameras
        together for the second witness.

    Source: ours; the first witness is CMM of DMTNet (Wang and Hu 2020), Eq. 12.
    """
    target = np.asarray(target, np.float32)
    fine_key, row_key = jax.random.split(key)
    n = len(target)
    rows = np.sort(np.asarray(jax.random.permutation(row_key, n))[:sample])
    camera = _numbered(np.full(n, -1) if cameras is None else np.asarray(cameras))
    known = bool((camera > 0).any())
    if not known:
        camera = np.full(n, -1)
    rows = rows[np.argsort(camera[rows], kind='stable')]
    first, merges = _hierarchy(fine_key, target, max(int(candidates.max()), 2), max_iterations)
    tried = np.unique(np.minimum(candidates, int(first.max()) + 1))
    scores = _curve(_distances(target, rows, first, camera), first, camera, rows, merges, tried)
    witnesses = [int(tried[np.argmax(scores)])]
    within = density = 0
    if known:
        within = _within(key, target, camera, candidates, sample, max_iterations)
        witnesses.append(within)
    if neighbourhoods is not None:
        density = max(
            int(dbscan(neighbourhoods, eps=float(eps), min_samples=MIN_SAMPLES).max()) + 1
            for eps in EPS
        )
        witnesses.append(density)
    if scores.max() >= CLEAR:
        witnesses = witnesses[:1]
    count = int(np.clip(_low_median(witnesses), tried[0], tried[-1]))
    labels = labels_after(merges, int(first.max()) + 1, count)[first]
    return Sweep(tried, scores, within, density, count, labels)


def _within(
    key: Array,
    target: Float[np.ndarray, 'n d'],
    camera: Int[np.ndarray, ' n'],
    candidates: Int[np.ndarray, ' m'],
    sample: int,
    max_iterations: int,
) -> int:
    """Returns the median over cameras of the number of clusters with the best silhouette."""
    sizes = np.bincount(camera[camera >= 0])
    cameras, named = len(sizes), []
    for number in np.flatnonzero(sizes >= FEW * sizes.mean()).tolist():
        own = target[camera == number]
        sweep = ask_witnesses(
            jax.random.fold_in(key, number),
            own,
            np.unique(np.clip(candidates, 1, max(len(own) // 2, 1))),
            sample=max(sample // cameras, 1),
            max_iterations=max_iterations,
        )
        named.append(sweep.count)
    return _low_median(named)


def _numbered(cameras: Int[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
    """Returns the cameras as 0, 1, ..., and -1 where they are negative."""
    known = cameras >= 0
    numbers = np.full(len(cameras), -1)
    numbers[known] = np.unique(cameras[known], return_inverse=True)[1]
    return numbers


def _low_median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def hierarchy_means(
    key: Array,
    target: Float[np.ndarray, 'n d'],
    clusters: int,
    finest: int,
    *,
    max_iterations: int = 100,
) -> Float[np.ndarray, 'k d']:
    """Returns the means of a given number of clusters of the hierarchy, where k-means may start.

    From there k-means ends in a lower inertia than from k-means++ seeds, and in labels that are
    nearer to the people: 0.31 against 0.25 (adjusted Rand index) on Market-1501.

    Args:
      clusters: at most `finest`.
      finest: number of clusters from which the merges start, where there are many samples.
    """
    target = np.asarray(target, np.float32)
    first, merges = _hierarchy(key, target, max(clusters, finest), max_iterations)
    count = int(first.max()) + 1
    clusters = min(clusters, count)
    return cluster_means(target, labels_after(merges, count, clusters)[first], clusters)


def _hierarchy(
    key: Array, target: Float[np.ndarray, 'n d'], finest: int, max_iterations: int
) -> tuple[Int[np.ndarray, ' n'], Merges]:
    """Returns the first clusters, none of them empty, and their merges.

    They are single samples or, of many samples, the clusters of one k-means.
    """
    if len(target) <= SINGLES:
        first = np.arange(len(target))
    else:
        clusters = kmeans(key, target, finest, n_init=1, max_iterations=max_iterations)
        first = np.unique(np.asarray(clusters.labels), return_inverse=True)[1]
    sizes = np.bincount(first)
    return first, ward_merges(cluster_means(target, first, len(sizes)), sizes)


def grid(low: int, high: int) -> Int[np.ndarray, ' m']:
    """Returns numbers from low to high in steps of 1.5 %, or of 1 where that is more."""
    points = 2 + int(np.log(high / low) / np.log1p(STEP))
    return np.unique(np.geomspace(low, high, points).round().astype(int))


def _distances(
    target: Float[np.ndarray, 'n d'],
    rows: Int[np.ndarray, ' r'],
    label: Int[np.ndarray, ' n'],
    camera: Int[np.ndarray, ' n'],
) -> Float[np.ndarray, 'k r']:
    """Sums the distances from the samples of each cluster to each row of another camera."""
    order = np.argsort(label, kind='stable')
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    ordered = jnp.asarray(target[order])
    sums = np.empty((len(starts), len(rows)), np.float32)
    for start in range(0, len(rows), 512):
        row = rows[start : start + 512]
        distance = np.array(_to_rows(ordered, jnp.asarray(target[row])))
        distance[(camera[order, None] == camera[row]) & (camera[row] >= 0)] = 0
        distance[order[:, None] == row] = 0
        sums[:, start : start + 512] = np.add.reduceat(distance, starts, axis=0)
    return sums


@jax.jit
def _to_rows(x: Float[Array, 'n d'], rows: Float[Array, 'r d']) -> Float[Array, 'n r']:
    return jnp.sqrt(squared_distances(x, rows))


def _curve(
    sums: Float[np.ndarray, 'k r'],
    label: Int[np.ndarray, ' n'],
    camera: Int[np.ndarray, ' n'],
    rows: Int[np.ndarray, ' r'],
    merges: Merges,
    tried: Int[np.ndarray, ' m'],
) -> Float[np.ndarray, ' m']:
    """Computes the mean silhouette of the rows at each cut, from the finest down.

    Args:
      sums: of distances from each first cluster's samples to each row of another camera; written
        over.
      rows: in the order of their cameras.
    """
    first = len(sums)
    # Images of each cluster by camera; the last column holds those of unknown cameras.
    seen = np.zeros((first, camera.max() + 2), np.float64)
    np.add.at(seen, (label, camera), 1)
    groups = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(camera[rows])) + 1)
    alive, parent = np.ones(first, bool), np.arange(first)
    scores, done = np.empty(len(tried)), 0
    for position in range(len(tried) - 1, -1, -1):
        clusters = int(tried[position])
        for a, b in zip(
            merges.kept[done : first - clusters], merges.gone[done : first - clusters], strict=True
        ):
            sums[a] += sums[b]
            seen[a] += seen[b]
            alive[b] = False
            parent[parent == b] = a
        done = first - clusters
        place = np.cumsum(alive) - 1
        own, size, left = place[parent[label[rows]]], seen[alive], sums[alive]
        total = sum(
            _silhouettes(left[:, group], size, own[group], int(camera[rows[group[0]]]))
            for group in groups
        )
        scores[position] = total / len(rows) if clusters > 1 else -1.0
    return scores


def _silhouettes(
    sums: Float[np.ndarray, 'c r'],
    seen: Float[np.ndarray, 'c cameras'],
    own: Int[np.ndarray, ' r'],
    camera: int,
) -> float:
    """Sums the silhouettes of rows of one camera, -1 for none.

    Args:
      seen: images of each cluster by camera.
      own: the rows' clusters.
    """
    known = camera >= 0
    size = seen.sum(1) - (seen[:, camera] if known else 0)
    with np.errstate(divide='ignore', invalid='ignore'):
        mean = sums * (1 / size)[:, None].astype(np.float32)
        each = np.arange(len(own))
        # Without cameras an image is no neighbour of its own.
        a = sums[own, each] / (size[own] - (0 if known else 1))
    mean[size == 0] = np.inf
    mean[own, each] = np.inf
    b = mean.min(0)
    usable = np.isfinite(a) & np.isfinite(b) & (np.maximum(a, b) > 0)
    a, b = a[usable], b[usable]
    return float(((b - a) / np.maximum(a, b)).sum())
