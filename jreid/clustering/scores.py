"""Scores of a clustering: cluster accuracy against identities, and silhouettes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from scipy.sparse import coo_matrix, eye, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from jreid.clustering.checks import check_counts, check_labels, check_samples
from jreid.clustering.tiles import squared_distances


def cluster_accuracy(
    true: Int[Array | np.ndarray, ' n'], predicted: Int[Array | np.ndarray, ' n']
) -> float:
    """Computes the accuracy under the best one-to-one match of clusters to identities.

    The accuracy is the maximum over matches g of mean(true_i = g(predicted_i)), in [0, 1]. The
    numbers of clusters and identities may differ; samples of a cluster or an identity without a
    partner count as wrong. The match uses the sparse table of counts, so memory follows the number
    of samples, not identities x clusters.

    Raises:
      ValueError: no samples, or unequal lengths.

    Reference: Kuhn 1955; DMTNet (Wang and Hu 2020), Eq. 11.
    """
    true = check_labels('true labels', true, -1, words=True)
    predicted = check_labels('predicted labels', predicted, -1, words=True)
    if true.shape != predicted.shape or not true.size:
        raise ValueError(
            f'{true.size} true and {predicted.size} predicted labels; expected as many of each, and'
            ' at least one'
        )
    identity = np.unique(true, return_inverse=True)[1]
    cluster = np.unique(predicted, return_inverse=True)[1]
    counts = coo_matrix((np.ones(len(true)), (identity, cluster))).tocsr()
    counts.sum_duplicates()
    # A sparse match must cover every identity, so each identity has a column of its own that stands
    # for "no cluster". Costs must not be 0.
    ceiling = counts.data.max() + 1
    cost = counts.copy()
    cost.data = ceiling - cost.data
    rows, columns = min_weight_full_bipartite_matching(
        hstack([cost, ceiling * eye(counts.shape[0])], format='csr')
    )
    matched = columns < counts.shape[1]
    return float(counts[rows[matched], columns[matched]].sum() / len(true))


def silhouette(
    x: Float[Array | np.ndarray, 'n d'],
    labels: Int[Array | np.ndarray, ' n'],
    *,
    block_size: int = 256,
) -> Float[Array, ' n']:
    """Computes the silhouette of every sample, by Euclidean distance.

    s_i = (b_i - a_i) / max(a_i, b_i), in [-1, 1]. a_i is the mean distance of sample i to the other
    samples of its cluster, and b_i the least mean distance to another cluster. A sample alone in
    its cluster has 0. Samples with label -1 are ignored and have NaN.

    Args:
      labels: cluster numbers from 0 on, with or without gaps.
      block_size: rows per block; memory is block_size x (n + clusters).

    Raises:
      ValueError: x not finite, or fewer than 2 clusters.

    Reference: Rousseeuw 1987.
    """
    x = check_samples('samples', x)
    labels = check_labels('labels', labels, x.shape[0])
    check_counts(block_size=block_size)
    member = labels >= 0
    names, dense = np.unique(labels[member], return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f'{len(names)} clusters among {len(labels)} labels; a silhouette needs at least 2'
            ' clusters (label -1 is ignored)'
        )
    if not np.isfinite(np.asarray(x)[member]).all():
        raise ValueError(
            'some samples are not finite; expected finite features: look for a diverged model'
        )
    label = np.full(len(labels), -1, np.int32)
    label[member] = dense
    # Rounded up so that similar numbers of clusters share one compiled program.
    clusters = 1 << (len(names) - 1).bit_length()
    rows = jnp.arange(len(labels))
    block_size = min(block_size, len(labels))
    return silhouette_rows(x, jnp.asarray(label), rows, clusters=clusters, block_size=block_size)


@functools.partial(jax.jit, static_argnames=('clusters', 'block_size'))
def silhouette_rows(
    x: Float[Array, 'n d'],
    label: Int[Array, ' n'],
    rows: Int[Array, ' r'],
    *,
    clusters: int,
    block_size: int = 256,
) -> Float[Array, ' r']:
    """Computes the silhouettes of the samples in `rows` within all samples.

    Labels are 0..clusters-1, any of which may be empty, or -1 for ignored samples.
    """
    member = label >= 0
    weight = member.astype(x.dtype)
    x = jnp.where(member[:, None], x, 0)
    # The expanded square of a distance loses digits far from the origin.
    x = jnp.where(member[:, None], x - x.sum(0) / jnp.maximum(weight.sum(), 1), 0)
    target = jnp.where(member, label, clusters)
    size = jax.ops.segment_sum(weight, target, clusters)
    # With samples in order of their cluster the sums walk through memory once.
    order = jnp.argsort(target)
    block_size = min(block_size, rows.shape[0])
    blocks = -(-rows.shape[0] // block_size)
    padded = jnp.pad(rows, (0, blocks * block_size - rows.shape[0])).reshape(blocks, block_size)

    def block(row: Int[Array, ' b']) -> Float[Array, ' b']:
        distance = jnp.sqrt(squared_distances(x[order], x[row]))
        distance = jnp.where(order[:, None] == row, 0, distance)
        total = jax.ops.segment_sum(distance, target[order], clusters, indices_are_sorted=True).T
        return _score(total, label[row], size)

    return lax.map(block, padded).reshape(-1)[: rows.shape[0]]


def _score(
    total: Float[Array, 'b k'], label: Int[Array, ' b'], size: Float[Array, ' k']
) -> Float[Array, ' b']:
    """Computes silhouettes from the sums of distances to each cluster."""
    own: Bool[Array, 'b k'] = jnp.arange(size.shape[0]) == label[:, None]
    mine = size[jnp.maximum(label, 0)]
    a = jnp.where(own, total, 0).sum(1) / jnp.maximum(mine - 1, 1)
    b = jnp.where(own | (size == 0), jnp.inf, total / jnp.maximum(size, 1)).min(1)
    scale = jnp.maximum(a, b)
    score = jnp.where((mine > 1) & (scale > 0), (b - a) / jnp.where(scale > 0, scale, 1), 0)
    return jnp.where(label >= 0, score, jnp.nan)
