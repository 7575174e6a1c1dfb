"""k-means and constrained (semi-supervised) k-means: one compiled program for both, and for
every number of clusters.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.seeding import seed
from jreid.clustering.tiles import merge_nearest, sum_by_label

Count = int | np.integer | Int[Array | np.ndarray, '']


class KMeans(NamedTuple):
    """Centroids [K, d] (rows from k on are 0), labels [n] (-1 where masked), inertia (sum of
    squared distances) and Lloyd iterations.
    """

    centroids: Float[Array, 'k d']
    labels: Int[Array, ' n']
    inertia: Float[Array, '']
    iterations: Int[Array, '']


def kmeans(
    key: Array,
    x: Float[Array | np.ndarray, 'n d'],
    k: Count,
    *,
    n_init: Count = 10,
    max_iterations: Count = 300,
    tolerance: float | int | Float[Array, ''] = 1e-4,
    where: Bool[Array | np.ndarray, ' n'] | None = None,
    k_max: int | None = None,
) -> KMeans:
    """k-means: greedy k-means++ seeding, Lloyd iterations, the least inertia of `n_init` restarts.

    Minimises sum_i ||x_i - c_{label_i}||^2. Every label is the nearest of the returned centroids.
    An empty cluster takes the sample that is farthest from its centroid. The same key gives the
    same result. Memory: x, k_max x d and tiles; never n x k or n x k x d.

    Args:
      k: number of clusters, 1 <= k <= samples. With `k_max` it may be traced, and one compiled
        program serves every k <= k_max.
      tolerance: stop when the squared shift of all centroids is at most this times the mean
        variance of a feature; 0 = until no label changes.
      where: samples that take part; the others get label -1.
      k_max: static number of rows of `centroids`; default k.

    Raises:
      ValueError: k out of range, x not finite, or k traced without k_max.

    Reference: Lloyd 1982; Arthur and Vassilvitskii 2007.
    """
    given = jnp.full(np.shape(x)[0], -1, jnp.int32)
    return constrained_kmeans(
        key,
        x,
        given,
        k,
        n_init=n_init,
        max_iterations=max_iterations,
        tolerance=tolerance,
        where=where,
        k_max=k_max,
    )


def constrained_kmeans(
    key: Array,
    x: Float[Array | np.ndarray, 'n d'],
    given: Int[Array | np.ndarray, ' n'],
    k: Count,
    *,
    n_init: Count = 10,
    max_iterations: Count = 300,
    tolerance: float | int | Float[Array, ''] = 1e-4,
    where: Bool[Array | np.ndarray, ' n'] | None = None,
    k_max: int | None = None,
) -> KMeans:
    """k-means in which sample i with given[i] = 0..L-1 always belongs to cluster given[i]; those
    with -1 may join any cluster.

    A class starts at the mean of its samples, the other k - L clusters from k-means++ on the free
    samples. Labelled samples pull their centroid like any other. Arguments, result and errors
    otherwise as `kmeans`; inertia counts labelled samples too.

    Raises:
      ValueError: as `kmeans`, and for a label of k or more, or fewer free samples than clusters
        without a label.

    Reference: Basu et al. 2002 (constrained k-means); Han et al. 2019, section 3.3; Wang and Hu
    2020 (DMTNet), section III-C.
    """
    x = jnp.asarray(x)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    given = jnp.asarray(given, jnp.int32)
    where = jnp.ones(x.shape[0], bool) if where is None else jnp.asarray(where)
    if k_max is None:
        if isinstance(k, jax.core.Tracer):
            raise ValueError(
                'k is traced, so the number of rows of the centroids is unknown; give the static'
                ' bound k_max'
            )
        k_max = int(k)
    _check(x, given, where, k, k_max)
    if not isinstance(n_init, jax.core.Tracer) and n_init < 1:
        raise ValueError(f'n_init is {n_init}; expected at least 1 restart')
    return _fit(
        key,
        x,
        given,
        where,
        jnp.int32(k),
        jnp.int32(n_init),
        jnp.int32(max_iterations),
        jnp.asarray(tolerance, x.dtype),
        k_max=k_max,
    )


def _check(x: Array, given: Array, where: Array, k: Count, k_max: int) -> None:
    """Errors that need values; under a trace only the static sizes are known."""
    if any(isinstance(value, jax.core.Tracer) for value in (x, given, where)):
        return
    mask, label = np.asarray(where), np.asarray(given)
    if not bool(_finite(x, where)):
        rows = np.flatnonzero(~np.isfinite(np.asarray(x)).all(1) & mask)
        raise ValueError(
            f'{len(rows)} of {len(mask)} samples are not finite, e.g. row {rows[0]}; expected'
            ' finite features: look for a diverged model'
        )
    if isinstance(k, jax.core.Tracer):
        return
    k = int(k)
    label = np.where(mask, label, -1)
    taken, free = len(np.unique(label[label >= 0])), int(((label < 0) & mask).sum())
    if not 1 <= k <= k_max:
        raise ValueError(f'k is {k}; expected 1 <= k <= k_max = {k_max}')
    if label.max(initial=-1) >= k:
        raise ValueError(
            f'given holds class {label.max()}, but there are only {k} clusters; expected classes'
            f' 0..{k - 1}, or -1 where free'
        )
    if k - taken > free:
        raise ValueError(
            f'{k} clusters asked for of {free} free samples and {taken} labelled classes; expected'
            f' at most {free + taken}: lower k'
        )


@jax.jit
def _finite(x: Float[Array, 'n d'], where: Bool[Array, ' n']) -> Bool[Array, '']:
    return jnp.isfinite(jnp.where(where[:, None], x, 0)).all()


@functools.partial(jax.jit, static_argnames='k_max')
def _fit(key, x, given, where, k, n_init, max_iterations, tolerance, *, k_max: int) -> KMeans:
    """The least inertia of n_init restarts, one after the other, on centred data (the expanded
    square loses digits far from 0).
    """
    weight = where.astype(x.dtype)
    total = jnp.maximum(weight.sum(), 1)
    x = jnp.where(where[:, None], x, 0)
    mean = x.sum(0) / total
    x = jnp.where(where[:, None], x - mean, 0)
    limit = tolerance * jnp.square(x).sum() / (total * x.shape[1])
    given = jnp.where(where & (given < k), given, -1)

    def restart(i, best):
        result = _lloyd(
            jax.random.fold_in(key, i), x, given, where, k, max_iterations, limit, k_max
        )
        better = (result.inertia < best.inertia) | (i == 0)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), result, best)

    empty = KMeans(
        jnp.zeros((k_max, x.shape[1]), x.dtype),
        jnp.full(x.shape[0], -1, jnp.int32),
        jnp.full((), jnp.inf, x.dtype),
        jnp.int32(0),
    )
    result = lax.fori_loop(0, n_init, restart, empty)
    valid = jnp.arange(k_max) < k
    return result._replace(centroids=jnp.where(valid[:, None], result.centroids + mean, 0))


class _State(NamedTuple):
    centroids: Array
    label: Array
    own: Array  # squared distance to the own centroid
    second: Array  # at most the squared distance to any other centroid
    moved: Array  # clusters whose members changed
    shift: Array
    iteration: Array


def _lloyd(key, x, given, where, k, max_iterations, limit, k_max: int) -> KMeans:
    """One restart. Free samples are compared only with what can have come nearer: see `_assign`."""
    valid = jnp.arange(k_max) < k
    held = given >= 0
    free = where & ~held
    ones = where.astype(x.dtype)
    labelled = jax.ops.segment_sum(held.astype(x.dtype), jnp.where(held, given, k_max), k_max)
    means = sum_by_label(x, given, k_max) / jnp.maximum(labelled, 1)[:, None]
    centroids, own, label, second = seed(key, x, free, means, labelled > 0, valid)
    label = jnp.where(held, given, jnp.where(where, label, -1))

    def body(state: _State) -> _State:
        state = _fill_empty(state, x, free, valid)
        size = jax.ops.segment_sum(ones, jnp.where(state.label < 0, k_max, state.label), k_max)
        update = state.moved & (size > 0)
        centroids = jnp.where(
            update[:, None],
            sum_by_label(x, state.label, k_max) / jnp.maximum(size, 1)[:, None],
            state.centroids,
        )
        own, label, second = _assign(x, centroids, free, valid, state)
        changed = label != state.label
        moved = jnp.zeros(k_max, bool).at[jnp.where(changed, label, k_max)].set(True, mode='drop')
        moved = moved.at[jnp.where(changed, state.label, k_max)].set(True, mode='drop')
        return _State(
            centroids,
            label,
            own,
            second,
            moved,
            jnp.square(centroids - state.centroids).sum(),
            state.iteration + 1,
        )

    def going(state: _State) -> Array:
        return (state.iteration < max_iterations) & state.moved.any() & (state.shift > limit)

    start = _State(
        centroids, label, own, second, valid, jnp.full((), jnp.inf, x.dtype), jnp.int32(0)
    )
    end = lax.while_loop(going, body, start)
    return KMeans(end.centroids, end.label, _inertia(x, end.centroids, end.label), end.iteration)


def _assign(x, centroids, free, valid, state: _State) -> tuple[Array, Array, Array]:
    """The nearest centroid of every free sample, exactly, without distances to centroids that
    cannot have won.

    A centroid that did not move keeps its distance, and was no nearer than the own one. So a sample
    needs the moved centroids alone, unless its own one moved away beyond the bound `second` on the
    unmoved ones: then it needs all. Where most clusters move, all are compared at once.
    """
    moving = state.moved & valid
    partial = 2 * moving.sum() < valid.sum()
    mine_moved = moving[jnp.maximum(state.label, 0)]
    best = jnp.where(mine_moved, jnp.inf, state.own)
    best, label, second = merge_nearest(
        x, centroids, free & partial, moving, best, state.label, state.second
    )
    unsure = free & (~partial | (mine_moved & (best > second)))
    best = jnp.where(unsure, jnp.inf, best)
    second = jnp.where(unsure, jnp.inf, second)
    return merge_nearest(x, centroids, unsure, valid, best, label, second)


def _fill_empty(state: _State, x, free, valid) -> _State:
    """Gives every empty cluster the free sample that is farthest from its centroid, the farthest
    first.
    """
    clusters = valid.shape[0]
    size = (
        jnp.zeros(clusters, jnp.int32)
        .at[jnp.where(state.label < 0, clusters, state.label)]
        .add(1, mode='drop')
    )
    empty = valid & (size == 0)

    def fill(state: _State) -> _State:
        # Below this a distance is rounding: duplicates of the centroid, which would leave the new
        # cluster again.
        far = jnp.where(free & (state.own > 1e-6 * jnp.square(x).sum(1)), state.own, -1)
        order = jnp.argsort(-far)
        rank = jnp.arange(min(clusters, x.shape[0]))
        donor = order[: rank.shape[0]]
        target = jnp.nonzero(empty, size=rank.shape[0], fill_value=clusters)[0]
        use = (target < clusters) & (far[donor] > 0)
        row = jnp.where(use, donor, x.shape[0])
        moved = (
            state.moved.at[jnp.where(use, state.label[donor], clusters)]
            .set(True, mode='drop')
            .at[jnp.where(use, target, clusters)]
            .set(True, mode='drop')
        )
        second = state.second.at[row].min(state.own[donor], mode='drop')
        label = state.label.at[row].set(target.astype(jnp.int32), mode='drop')
        return state._replace(
            label=label, own=state.own.at[row].set(0, mode='drop'), second=second, moved=moved
        )

    return lax.cond(empty.any(), fill, lambda state: state, state)


def _inertia(
    x: Float[Array, 'n d'],
    centroids: Float[Array, 'k d'],
    label: Int[Array, ' n'],
    rows: int = 4096,
) -> Float[Array, '']:
    """Sum of squared distances to the own centroid, by differences, in tiles of rows."""
    n, width = x.shape
    tiles = -(-n // min(rows, n))
    rows = -(-n // tiles)
    x = jnp.pad(x, ((0, tiles * rows - n), (0, 0))).reshape(tiles, rows, width)
    label = jnp.pad(label, (0, tiles * rows - n), constant_values=-1).reshape(tiles, rows)

    def tile(part):
        samples, labels = part
        return jnp.where(
            labels < 0, 0, jnp.square(samples - centroids[jnp.maximum(labels, 0)]).sum(1)
        ).sum()

    return lax.map(tile, (x, label)).sum()
