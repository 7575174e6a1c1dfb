"""Lloyd's iterations of k-means, on one device or on rows split over several."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.seeding import seed
from jreid.clustering.shards import Axes, local_rows, total, whole
from jreid.clustering.tiles import Tile, inertia, merge_nearest, sum_by_label


class KMeans(NamedTuple):
    """A clustering.

    Attributes:
      centroids: [k_max, d]; rows from k on are 0.
      labels: [n], -1 where masked.
      inertia: sum of squared distances to the assigned centroids.
      iterations: number of Lloyd iterations of the best restart.
    """

    centroids: Float[Array, 'k d']
    labels: Int[Array, ' n']
    inertia: Float[Array, '']
    iterations: Int[Array, '']


class State(NamedTuple):
    """The state of Lloyd's iterations.

    Attributes:
      own: [n] squared distance to the assigned centroid.
      second: [n] lower bound on the squared distance to any other centroid.
      moved: [k] clusters whose members changed.
      shift: squared shift of all centroids.
    """

    centroids: Array
    label: Array
    own: Array
    second: Array
    moved: Array
    shift: Array
    iteration: Array


def iterate(
    key: Array,
    x: Float[Array, 'n d'],
    given: Int[Array, ' n'],
    where: Bool[Array, ' n'],
    k: Int[Array, ''],
    max_iterations: Int[Array, ''],
    limit: Float[Array, ''],
    begin: Float[Array, 'k d'],
    begun: Bool[Array, ' k'],
    k_max: int,
    tile: Tile,
    axes: Axes = None,
) -> KMeans:
    """Runs one restart, comparing free samples only with centroids that can have come nearer.

    With `axes`, the rows are those of one device, and so are the labels of the result.
    """
    valid = jnp.arange(k_max) < k
    labelled = given >= 0
    free = where & ~labelled
    ones = where.astype(x.dtype)
    class_size, means = total(
        (
            jax.ops.segment_sum(labelled.astype(x.dtype), jnp.where(labelled, given, k_max), k_max),
            sum_by_label(x, given, k_max),
        ),
        axes,
    )
    means = means / jnp.maximum(class_size, 1)[:, None]
    means = jnp.where(begun[:, None], begin, means)
    known = (class_size > 0) | begun
    centroids, own, label, second = seed(key, x, free, means, known, valid, tile, axes)
    label = jnp.where(labelled, given, jnp.where(where, label, -1))

    def body(state: State) -> State:
        state = fill_empty(state, x, free, valid, axes)
        size, sums = total(
            (
                jax.ops.segment_sum(ones, jnp.where(state.label < 0, k_max, state.label), k_max),
                sum_by_label(x, state.label, k_max),
            ),
            axes,
        )
        update = state.moved & (size > 0)
        centroids = jnp.where(
            update[:, None],
            sums / jnp.maximum(size, 1)[:, None],
            state.centroids,
        )
        own, label, second = _assign(x, centroids, free, valid, state, tile)
        changed = label != state.label
        moved = jnp.zeros(k_max, bool).at[jnp.where(changed, label, k_max)].set(True, mode='drop')
        moved = moved.at[jnp.where(changed, state.label, k_max)].set(True, mode='drop')
        moved = total(moved.astype(jnp.int32), axes) > 0
        return State(
            centroids,
            label,
            own,
            second,
            moved,
            jnp.square(centroids - state.centroids).sum(),
            state.iteration + 1,
        )

    def unfinished(state: State) -> Array:
        return (state.iteration < max_iterations) & state.moved.any() & (state.shift > limit)

    start = State(
        centroids, label, own, second, valid, jnp.full((), jnp.inf, x.dtype), jnp.int32(0)
    )
    end = lax.while_loop(unfinished, body, start)
    spread = total(inertia(x, end.centroids, end.label), axes)
    return KMeans(end.centroids, end.label, spread, end.iteration)


def _assign(
    x: Float[Array, 'n d'],
    centroids: Float[Array, 'k d'],
    free: Bool[Array, ' n'],
    valid: Bool[Array, ' k'],
    state: State,
    tile: Tile,
) -> tuple[Array, Array, Array]:
    """Finds the exact nearest centroid of every free sample with few comparisons.

    A centroid that did not move keeps its distance and was no nearer than the assigned one. A
    sample therefore needs only the moved centroids, unless its assigned centroid moved away beyond
    the bound `second` on the others. Then it needs all of them. If most clusters moved, all
    centroids are compared at once.
    """
    moving = state.moved & valid
    partial = 2 * moving.sum() < valid.sum()
    own_moved = moving[jnp.maximum(state.label, 0)]
    best = jnp.where(own_moved, jnp.inf, state.own)
    best, label, second = merge_nearest(
        x, centroids, free & partial, moving, best, state.label, state.second, tile
    )
    unsure = free & (~partial | (own_moved & (best > second)))
    best = jnp.where(unsure, jnp.inf, best)
    second = jnp.where(unsure, jnp.inf, second)
    return merge_nearest(x, centroids, unsure, valid, best, label, second, tile)


def fill_empty(
    state: State,
    x: Float[Array, 'n d'],
    free: Bool[Array, ' n'],
    valid: Bool[Array, ' k'],
    axes: Axes = None,
) -> State:
    """Moves the free samples that are farthest from their centroids to the empty clusters."""
    clusters = valid.shape[0]
    size = total(
        jnp.zeros(clusters, jnp.int32)
        .at[jnp.where(state.label < 0, clusters, state.label)]
        .add(1, mode='drop'),
        axes,
    )
    empty = valid & (size == 0)

    def fill(state: State) -> State:
        # A smaller distance is the rounding error of a duplicate of the centroid, which would leave
        # the new cluster again.
        far = jnp.where(free & (state.own > 1e-6 * jnp.square(x).sum(1)), state.own, -1)
        far, label, own = whole((far, state.label, state.own), axes)
        order = jnp.argsort(-far)
        rank = jnp.arange(min(clusters, far.shape[0]))
        donor = order[: rank.shape[0]]
        target = jnp.nonzero(empty, size=rank.shape[0], fill_value=clusters)[0]
        use = (target < clusters) & (far[donor] > 0)
        row = local_rows(jnp.where(use, donor, far.shape[0]), x.shape[0], axes)
        moved = (
            state.moved.at[jnp.where(use, label[donor], clusters)]
            .set(True, mode='drop')
            .at[jnp.where(use, target, clusters)]
            .set(True, mode='drop')
        )
        return state._replace(
            label=state.label.at[row].set(target.astype(jnp.int32), mode='drop'),
            own=state.own.at[row].set(0, mode='drop'),
            second=state.second.at[row].min(own[donor], mode='drop'),
            moved=moved,
        )

    return lax.cond(empty.any(), fill, lambda state: state, state)
