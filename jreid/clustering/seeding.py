"""Greedy k-means++ seeding that reads the data once per batch of candidates."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.checks import check_samples
from jreid.clustering.shards import Axes, columns_at, rows_at, total, whole
from jreid.clustering.tiles import Tile, compact, merge_nearest, squared_distances

# Number of seeds so far, centroids, nearest, label, second.
_Batch = tuple[Array, Array, Array, Array, Array]
# The same, with the mask of untried candidates and their D^2 in the second and third place.
_Draws = tuple[Array, Array, Array, Array, Array, Array, Array]


def seed(
    key: Array,
    x: Float[Array, 'n d'],
    free: Bool[Array, ' n'],
    centroids: Float[Array, 'k d'],
    known: Bool[Array, ' k'],
    valid: Bool[Array, ' k'],
    tile: Tile,
    axes: Axes = None,
) -> tuple[Float[Array, 'k d'], Float[Array, ' n'], Int[Array, ' n'], Float[Array, ' n']]:
    """Seeds the clusters that are valid and not known, by greedy k-means++ on the free samples.

    Each seed is the best of 2 + ln k samples drawn with probability proportional to D^2, the
    squared distance to the nearest seed so far. A batch of candidates is drawn at once from the
    current D^2, so that the data are read once per batch. A later seed accepts a candidate with
    probability (current D^2) / (D^2 at the draw). This is rejection sampling, so the draws have the
    distribution of the sequential method.

    With `axes`, the samples are those of one device. The draws are of the gathered D^2, so that the
    number of devices does not change them.

    Returns:
      The centroids. For every free sample: the squared distance to its nearest centroid, the number
      of that centroid, and a lower bound on the squared distance to any other.

    Reference: Arthur and Vassilvitskii 2007, with local trials as in their section 5.
    """
    n, clusters = x.shape[0], centroids.shape[0]
    trials = 2 + int(math.log(clusters))
    pool = 8 * trials
    first_key, key = jax.random.split(key)
    all_free = whole(free, axes).astype(x.dtype)
    first = sample(first_key, all_free, 1)
    start = ~known.any()
    centroids = jnp.where(start, centroids.at[0].set(rows_at(x, first, axes)[0]), centroids)
    known = jnp.where(start, jnp.arange(clusters) == 0, known)
    infinite, no_label = jnp.full(n, jnp.inf, x.dtype), jnp.zeros(n, jnp.int32)
    nearest, label, second = merge_nearest(
        x, centroids, free, known, infinite, no_label, infinite, tile
    )
    nearest = jnp.where(free, nearest, 0)
    slots, count = compact(valid & ~known, 1)

    def batch(state: _Batch) -> _Batch:
        done, centroids, nearest, label, second = state
        draw_key, keep_key = jax.random.split(jax.random.fold_in(key, done))
        everywhere = whole(nearest, axes)
        candidates = sample(draw_key, jnp.where(everywhere.sum() > 0, everywhere, all_free), pool)
        rows = rows_at(x, candidates, axes)
        distances = squared_distances(rows, x)
        between = columns_at(distances, candidates, axes)
        limit = jax.random.uniform(keep_key, (pool,), x.dtype) * everywhere[candidates]

        def accepted(untried: Array, theirs: Array) -> Array:
            return untried & (limit <= theirs)

        def unfinished(inner: _Draws) -> Array:
            done, untried, theirs, *_ = inner
            full = untried.all()
            return (done < count) & (full | (accepted(untried, theirs).sum() >= trials))

        def pick(inner: _Draws) -> _Draws:
            done, untried, theirs, centroids, nearest, label, second = inner
            tried = jnp.nonzero(accepted(untried, theirs), size=trials, fill_value=0)[0]
            after = jnp.minimum(distances[tried], nearest)
            chosen = tried[jnp.argmin(total(after.sum(1), axes))]
            distance, slot = distances[chosen], slots[done]
            second = jnp.minimum(second, jnp.maximum(nearest, distance))
            label = jnp.where(distance < nearest, slot, label)
            nearest = jnp.minimum(nearest, distance)
            return (
                done + 1,
                untried.at[tried].set(False),
                jnp.minimum(theirs, between[chosen]),
                centroids.at[slot].set(rows[chosen]),
                nearest,
                label,
                second,
            )

        untried, theirs = jnp.ones(pool, bool), everywhere[candidates]
        done, _, _, centroids, nearest, label, second = lax.while_loop(
            unfinished, pick, (done, untried, theirs, centroids, nearest, label, second)
        )
        return done, centroids, nearest, label, second

    state = (jnp.zeros((), jnp.int32), centroids, nearest, label, second)
    _, centroids, nearest, label, second = lax.while_loop(
        lambda state: state[0] < count, batch, state
    )
    return centroids, nearest, label, second


def sample(key: Array, weights: Float[Array, ' n'], count: int) -> Int[Array, ' count']:
    """Draws `count` independent indices with probability proportional to the weights.

    If any weight is positive, no index of weight 0 is drawn.
    """
    total = jnp.cumsum(weights)
    drawn = jnp.searchsorted(
        total, jax.random.uniform(key, (count,), weights.dtype) * total[-1], side='right'
    )
    last = weights.shape[0] - 1 - jnp.argmax(weights[::-1] > 0)
    return jnp.minimum(drawn, last).astype(jnp.int32)


def given_starts(
    x: Array, given: Array, where: Array, k: Any, k_max: int, initial: Any
) -> tuple[Float[Array, 'k d'], Bool[Array, ' k']]:
    """Returns centroids [k_max, d] to start from and the mask of those that are there.

    Args:
      initial: for the first clusters of the k that no sample of `given` has, or None.

    Raises:
      ValueError: they are of another width, not finite, or more than such clusters.
    """
    centroids, there = jnp.zeros((k_max, x.shape[1]), x.dtype), jnp.zeros(k_max, bool)
    if initial is None:
        return centroids, there
    rows = check_samples('initial centroids', initial)
    taken = jnp.isin(jnp.arange(k_max), jnp.where(where, given, -1))
    slots = jnp.flatnonzero(~taken & (jnp.arange(k_max) < k))
    if rows.shape[1] != x.shape[1] or len(rows) > len(slots) or not jnp.isfinite(rows).all():
        raise ValueError(
            f'initial centroids are {rows.shape}; expected finite ones of width {x.shape[1]}, at'
            f' most one per cluster without a class, here {len(slots)}'
        )
    slots = slots[: len(rows)]
    return centroids.at[slots].set(rows.astype(x.dtype)), there.at[slots].set(True)
