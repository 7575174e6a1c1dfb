"""k-means and constrained k-means, one compiled program for both and for every k up to k_max."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.checks import (
    as_array,
    check_counts,
    check_key,
    check_labels,
    check_samples,
    check_tolerance,
)
from jreid.clustering.seeding import given_starts, seed
from jreid.clustering.tiles import inertia, merge_nearest, sum_by_label

Count = int | np.integer | Int[Array | np.ndarray, '']


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
    """Clusters samples by k-means, with the least inertia of `n_init` restarts.

    Minimises sum_i ||x_i - c_{label_i}||^2 by Lloyd iterations from greedy k-means++ seeds. Every
    sample has the label of its nearest centroid. An empty cluster takes the sample that is farthest
    from its centroid. The same key gives the same result. Memory is x, k_max x d and tiles, never
    n x k or n x k x d.

    Args:
      k: number of clusters, 1 <= k <= samples. With `k_max` it may be traced, and one compiled
        program serves every k <= k_max.
      tolerance: stop when the squared shift of all centroids is at most this times the mean
        variance of a feature. With 0, stop when no label changes.
      where: samples to cluster; the others get label -1.
      k_max: static number of rows of `centroids`, by default k.

    Raises:
      ValueError: k out of range, x not finite, or k traced without k_max.

    Reference: Lloyd 1982; Arthur and Vassilvitskii 2007.
    """
    x = check_samples('samples', x)
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
    initial: Float[Array | np.ndarray, 'm w'] | None = None,
) -> KMeans:
    """Clusters samples by k-means while labelled samples stay in the cluster of their class.

    The cluster of a class starts at the mean of its samples. The other clusters start from
    k-means++ seeds among the free samples. Labelled samples count in their centroid and in the
    inertia. The other arguments, the result and the errors are those of `kmeans`.

    Args:
      given: class 0..L-1 of every labelled sample, which is also the number of its cluster; -1 for
        free samples, which may join any cluster.
      initial: centroids that the first clusters without a class start from, such as those of a
        hierarchy; k-means++ seeds the rest.

    Raises:
      ValueError: as `kmeans`; a class of k or more; fewer free samples than clusters without a
        class; initial centroids that do not fit.

    Reference: Basu et al. 2002 (constrained k-means); Han et al. 2019, section 3.3; Wang and Hu
    2020 (DMTNet), section III-C.
    """
    check_key(key)
    x = check_samples('samples', x)
    if not isinstance(given, jax.core.Tracer):
        given = check_labels('given', given, x.shape[0])
    given = jnp.asarray(given, jnp.int32)
    if where is None:
        where = np.ones(x.shape[0], bool)
    elif not isinstance(where, np.ndarray | jax.Array):
        where = as_array('the flags where', where, f'bool [{x.shape[0]}], one per sample')
    if where.shape != (x.shape[0],) or where.dtype != bool:
        raise ValueError(
            f'where is {where.dtype} {where.shape}; expected bool [{x.shape[0]}], one per sample'
        )
    where = jnp.asarray(where)
    check_counts(k=k, n_init=n_init)
    if k_max is not None:
        check_counts(k_max=k_max)
    check_counts(least=0, max_iterations=max_iterations)
    check_tolerance(tolerance)
    if k_max is None:
        if isinstance(k, jax.core.Tracer):
            raise ValueError(
                'k is traced, so the number of rows of the centroids is unknown; give the static'
                ' bound k_max'
            )
        k_max = int(k)
    _check(x, given, where, k, k_max)
    return _fit(
        key,
        x,
        given,
        where,
        jnp.int32(k),
        jnp.int32(n_init),
        jnp.int32(max_iterations),
        jnp.asarray(tolerance, x.dtype),
        *given_starts(x, given, where, k, k_max, initial),
        k_max=k_max,
    )


def _check(x: Array, given: Array, where: Array, k: Count, k_max: int) -> None:
    """Raises the errors that need values; under a trace only the static sizes are known."""
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
    """Returns whether all samples that `where` keeps are finite."""
    return jnp.isfinite(jnp.where(where[:, None], x, 0)).all()


@functools.partial(jax.jit, static_argnames='k_max')
def _fit(
    key: Array,
    x: Float[Array, 'n d'],
    given: Int[Array, ' n'],
    where: Bool[Array, ' n'],
    k: Int[Array, ''],
    n_init: Int[Array, ''],
    max_iterations: Int[Array, ''],
    tolerance: Float[Array, ''],
    start: Float[Array, 'k d'],
    started: Bool[Array, ' k'],
    *,
    k_max: int,
) -> KMeans:
    """Runs the restarts one after the other and returns the one of least inertia.

    The data are centred first, since the expanded square of a distance loses digits far from 0.
    """
    weight = where.astype(x.dtype)
    total = jnp.maximum(weight.sum(), 1)
    x = jnp.where(where[:, None], x, 0)
    mean = x.sum(0) / total
    x = jnp.where(where[:, None], x - mean, 0)
    limit = tolerance * jnp.square(x).sum() / (total * x.shape[1])
    given = jnp.where(where & (given < k), given, -1)
    start = jnp.where(started[:, None], start - mean, 0)

    def restart(i: Array, best: KMeans) -> KMeans:
        restart_key = jax.random.fold_in(key, i)
        result = _lloyd(
            restart_key, x, given, where, k, max_iterations, limit, start, started, k_max
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


def _lloyd(
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
) -> KMeans:
    """Runs one restart, comparing free samples only with centroids that can have come nearer."""
    valid = jnp.arange(k_max) < k
    labelled = given >= 0
    free = where & ~labelled
    ones = where.astype(x.dtype)
    class_size = jax.ops.segment_sum(
        labelled.astype(x.dtype), jnp.where(labelled, given, k_max), k_max
    )
    means = sum_by_label(x, given, k_max) / jnp.maximum(class_size, 1)[:, None]
    means = jnp.where(begun[:, None], begin, means)
    centroids, own, label, second = seed(key, x, free, means, (class_size > 0) | begun, valid)
    label = jnp.where(labelled, given, jnp.where(where, label, -1))

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

    def unfinished(state: _State) -> Array:
        return (state.iteration < max_iterations) & state.moved.any() & (state.shift > limit)

    start = _State(
        centroids, label, own, second, valid, jnp.full((), jnp.inf, x.dtype), jnp.int32(0)
    )
    end = lax.while_loop(unfinished, body, start)
    return KMeans(end.centroids, end.label, inertia(x, end.centroids, end.label), end.iteration)


def _assign(
    x: Float[Array, 'n d'],
    centroids: Float[Array, 'k d'],
    free: Bool[Array, ' n'],
    valid: Bool[Array, ' k'],
    state: _State,
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
        x, centroids, free & partial, moving, best, state.label, state.second
    )
    unsure = free & (~partial | (own_moved & (best > second)))
    best = jnp.where(unsure, jnp.inf, best)
    second = jnp.where(unsure, jnp.inf, second)
    return merge_nearest(x, centroids, unsure, valid, best, label, second)


def _fill_empty(
    state: _State, x: Float[Array, 'n d'], free: Bool[Array, ' n'], valid: Bool[Array, ' k']
) -> _State:
    """Moves the free samples that are farthest from their centroids to the empty clusters."""
    clusters = valid.shape[0]
    size = (
        jnp.zeros(clusters, jnp.int32)
        .at[jnp.where(state.label < 0, clusters, state.label)]
        .add(1, mode='drop')
    )
    empty = valid & (size == 0)

    def fill(state: _State) -> _State:
        # A smaller distance is the rounding error of a duplicate of the centroid, which would leave
        # the new cluster again.
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
