"""Silhouette of every sample in blocks: a row's sums of distances to each cluster, never the n x
n distances.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.tiles import squared_distances


def silhouette(
    x: Float[Array | np.ndarray, 'n d'],
    labels: Int[Array | np.ndarray, ' n'],
    *,
    block_size: int = 256,
) -> Float[Array, ' n']:
    """s_i = (b_i - a_i) / max(a_i, b_i), in [-1, 1], Euclidean distance.

    a_i is the mean distance of sample i to the others of its cluster, b_i the least mean distance
    to another cluster. A sample alone in its cluster has 0. Samples with label -1 are ignored and
    have nan.

    Args:
      labels: any cluster numbers from 0 on, with gaps or without.
      block_size: rows at a time; memory is block_size x (n + clusters).

    Raises:
      ValueError: x not finite, or fewer than 2 clusters.

    Reference: Rousseeuw 1987.
    """
    x, labels = jnp.asarray(x), np.asarray(labels)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    member = labels >= 0
    found, dense = np.unique(labels[member], return_inverse=True)
    if len(found) < 2:
        raise ValueError(
            f'{len(found)} clusters among {len(labels)} labels; a silhouette needs at least 2'
            ' clusters (label -1 is ignored)'
        )
    if not np.isfinite(np.asarray(x)[member]).all():
        raise ValueError(
            'some samples are not finite; expected finite features: look for a diverged model'
        )
    label = np.full(len(labels), -1, np.int32)
    label[member] = dense
    # Rounded up so that near numbers of clusters share one compiled program.
    clusters = 1 << (len(found) - 1).bit_length()
    return silhouette_rows(
        x, jnp.asarray(label), jnp.arange(len(labels)), clusters=clusters, block_size=block_size
    )


@functools.partial(jax.jit, static_argnames=('clusters', 'block_size'))
def silhouette_rows(
    x: Float[Array, 'n d'],
    label: Int[Array, ' n'],
    rows: Int[Array, ' r'],
    *,
    clusters: int,
    block_size: int = 256,
) -> Float[Array, ' r']:
    """The silhouette of the samples in `rows` within all samples; labels 0..clusters-1 (any may
    be empty) or -1 = ignored.
    """
    member = label >= 0
    weight = member.astype(x.dtype)
    x = jnp.where(member[:, None], x, 0)
    # The expanded square of a distance loses digits far from the origin.
    x = jnp.where(member[:, None], x - x.sum(0) / jnp.maximum(weight.sum(), 1), 0)
    target = jnp.where(member, label, clusters)
    size = jax.ops.segment_sum(weight, target, clusters)
    # Samples in order of their cluster: the sums then walk through memory once.
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
    """The silhouette from the sums of distances to each cluster."""
    own: Bool[Array, 'b k'] = jnp.arange(size.shape[0]) == label[:, None]
    mine = size[jnp.maximum(label, 0)]
    a = jnp.where(own, total, 0).sum(1) / jnp.maximum(mine - 1, 1)
    b = jnp.where(own | (size == 0), jnp.inf, total / jnp.maximum(size, 1)).min(1)
    scale = jnp.maximum(a, b)
    score = jnp.where((mine > 1) & (scale > 0), (b - a) / jnp.where(scale > 0, scale, 1), 0)
    return jnp.where(label >= 0, score, jnp.nan)
