"""Rows of samples split over the devices of a mesh: what one device knows of the others'."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

Axes = tuple[str, ...] | None
"""Axes of the mesh that the rows are split over; None where one device has all of them."""


def total(values: Any, axes: Axes) -> Any:
    """Returns the sums over all devices of arrays that each device has its own of."""
    return values if axes is None else lax.psum(values, axes)


def whole(values: Any, axes: Axes) -> Any:
    """Returns arrays [n, ...] of all rows, of those with the rows of each device."""
    if axes is None:
        return values
    return jax.tree.map(lambda x: lax.all_gather(x, axes, tiled=True), values)


def local_rows(ids: Int[Array, ' m'], rows: int, axes: Axes) -> Int[Array, ' m']:
    """Returns the places of rows, numbered over all devices, among this one's.

    Rows of other devices are at `rows`, one beyond the last.
    """
    if axes is None:
        return ids
    ids = ids - lax.axis_index(axes) * rows
    return jnp.where((ids >= 0) & (ids < rows), ids, rows)


def rows_at(x: Float[Array, 'n d'], ids: Int[Array, ' m'], axes: Axes) -> Float[Array, 'm d']:
    """Returns rows that are numbered over all devices, on each of them."""
    if axes is None:
        return x[ids]
    own = local_rows(ids, x.shape[0], axes)
    return lax.psum(jnp.take(x, own, axis=0, mode='fill', fill_value=0), axes)


def columns_at(x: Float[Array, 'm n'], ids: Int[Array, ' c'], axes: Axes) -> Float[Array, 'm c']:
    """Returns columns that are numbered over all devices, of which each has its own."""
    return x[:, ids] if axes is None else rows_at(x.T, ids, axes).T


def over_rows(run: Callable[..., Any], mesh: Mesh, split: str, gather: str) -> Callable[..., Any]:
    """Returns `run` on rows that are split over all devices of a mesh.

    Args:
      run: a function with the keyword `axes`, of arrays and of static keywords.
      split: names of the arguments [n, ...] to split. They are padded with zeros (False) to a
        multiple of the devices, which the function has to leave out.
      gather: name of the field [n] of its result to join.

    Raises:
      ValueError: no mesh.
    """
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f'mesh is {mesh!r}; expected a jax.sharding.Mesh, such as'
            " jax.make_mesh((jax.device_count(),), ('data',)), or None for one device"
        )
    names = list(inspect.signature(run).parameters)
    rows = [name in split.split() for name in names]

    def call(*arguments: Any, **static: Any) -> Any:
        count = next(len(value) for value, own in zip(arguments, rows, strict=False) if own)
        placed = [
            _place(mesh, value, split=own) for value, own in zip(arguments, rows, strict=False)
        ]
        which = tuple(rows[: len(placed)])
        result = _program(run, mesh, which, gather, tuple(sorted(static.items())))(*placed)
        return result._replace(**{gather: getattr(result, gather)[:count]})

    return call


def _place(mesh: Mesh, value: Any, *, split: bool) -> jax.Array:
    """Puts an array that every process has onto the mesh, its rows split or copied."""
    if split:
        more = -len(value) % mesh.size
        value = jnp.pad(value, ((0, more), *((0, 0),) * (value.ndim - 1)))
    spec = PartitionSpec(mesh.axis_names) if split else PartitionSpec()
    sharding = NamedSharding(mesh, spec)
    if jax.process_count() == 1:
        return jax.device_put(value, sharding)
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        implementation = jax.random.key_impl(value)
        data = _place(mesh, jax.random.key_data(value), split=split)
        return jax.random.wrap_key_data(data, impl=implementation)
    host = np.asarray(value)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@functools.lru_cache(maxsize=32)
def _program(
    run: Callable[..., Any], mesh: Mesh, split: tuple[bool, ...], gather: str, static: tuple
) -> Callable[..., Any]:
    """Returns the compiled program of `over_rows`, one for each mesh and static keywords."""
    axes = tuple(mesh.axis_names)

    def part(*arguments: jax.Array) -> Any:
        result = run(*arguments, **dict(static), axes=axes)
        return result._replace(**{gather: whole(getattr(result, gather), axes)})

    specs = tuple(PartitionSpec(axes) if own else PartitionSpec() for own in split)
    # What is equal on all devices is so by the sums above, which the check cannot follow through
    # loops of different lengths.
    mapped = jax.shard_map(
        part, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False
    )
    return jax.jit(mapped)
