"""k-means and constrained k-means, one compiled program for both and for every k up to k_max."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.checks import (
    as_array,
    check_counts,
    check_key,
    check_labels,
    check_samples,
    check_tolerance,
)
from jreid.clustering.iterations import KMeans, iterate
from jreid.clustering.seeding import given_starts
from jreid.clustering.shards import Axes, over_rows, total
from jreid.clustering.tiles import ACCELERATOR_TILE, CPU_TILE, Tile, tile_of

Count = int | np.integer | Int[Array | np.ndarray, '']


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
    mesh: Mesh | None = None,
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
      mesh: devices to split the samples over, in any number of processes that all have all of x.
        Labels, seeds and iterations are those of one device, but for near ties: sums are added in
        another order. Per iteration the devices add up k x (d + 1) numbers.

    Raises:
      ValueError: k out of range, x or sums of its squares not finite, or k traced without k_max.

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
        mesh=mesh,
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
    mesh: Mesh | None = None,
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
    return _fit_on(x, mesh, k_max)(
        key,
        x,
        given,
        where,
        jnp.int32(k),
        jnp.int32(n_init),
        jnp.int32(max_iterations),
        jnp.asarray(tolerance, x.dtype),
        *given_starts(x, given, where, k, k_max, initial),
    )


def _fit_on(x: Array, mesh: Mesh | None, k_max: int) -> Callable[..., KMeans]:
    """Returns the program for where the samples lie, with tiles for that platform."""
    if mesh is not None:
        fit = over_rows(_run, mesh, 'x given where', 'labels')
        return functools.partial(fit, k_max=k_max, tile=tile_of(mesh.devices.flat[0].platform))
    if not isinstance(x, jax.core.Tracer):
        (device, *_) = x.devices()
        return functools.partial(_fit, k_max=k_max, tile=tile_of(device.platform))
    # Where a caller's own program will run is known when that is lowered.
    return functools.partial(
        lax.platform_dependent,
        cpu=functools.partial(_fit, k_max=k_max, tile=CPU_TILE),
        default=functools.partial(_fit, k_max=k_max, tile=ACCELERATOR_TILE),
    )


def _check(x: Array, given: Array, where: Array, k: Count, k_max: int) -> None:
    """Raises the errors that need values; under a trace only the static sizes are known."""
    if any(isinstance(value, jax.core.Tracer) for value in (x, given, where)):
        return
    mask, label = np.asarray(where), np.asarray(given)
    if not bool(_finite(x, where)):
        rows = np.flatnonzero(~np.isfinite(np.asarray(x)).all(1) & mask)
        if not len(rows):
            raise ValueError(
                f'samples go up to {np.abs(np.asarray(x)[mask]).max():.3g} in size: the sum of'
                f' their squared distances is not finite in {x.dtype}; expected smaller features'
            )
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
    """Returns whether all samples that `where` keeps, and their squared distances, are finite.

    So is the sum of all distances to any point among them, of which seeds are drawn.
    """
    squares = jnp.sum(jnp.where(where[:, None], x, 0) ** 2, axis=1)
    return jnp.isfinite(4 * len(x) * squares.max())


def _run(
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
    tile: Tile,
    axes: Axes = None,
) -> KMeans:
    """Runs the restarts one after the other and returns the one of least inertia.

    The data are centred first, since the expanded square of a distance loses digits far from 0.
    """
    weight = where.astype(x.dtype)
    x = jnp.where(where[:, None], x, 0)
    count, mean = total((weight.sum(), x.sum(0)), axes)
    count = jnp.maximum(count, 1)
    mean = mean / count
    x = jnp.where(where[:, None], x - mean, 0)
    limit = tolerance * total(jnp.square(x).sum(), axes) / (count * x.shape[1])
    given = jnp.where(where & (given < k), given, -1)
    start = jnp.where(started[:, None], start - mean, 0)

    def restart(i: Array, best: KMeans) -> KMeans:
        restart_key = jax.random.fold_in(key, i)
        result = iterate(
            restart_key,
            x,
            given,
            where,
            k,
            max_iterations,
            limit,
            start,
            started,
            k_max,
            tile,
            axes,
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


_fit = jax.jit(_run, static_argnames=('k_max', 'tile', 'axes'))
