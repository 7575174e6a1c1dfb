"""Sums of several arrays in one pass over memory, as the transpose of their broadcasts.

XLA's CPU computes what a reduction of several operands sums in one loop, and so reads once what the
operands share; of reductions of one operand each it makes one loop each. JAX has no operation whose
transpose is such a reduction, so `repeat_together` is one. It can be differentiated forward and
backward, any number of times, vectorised and exported.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def repeat_together(
    arrays: Sequence[Float[Array, '...']], times: int
) -> list[Float[Array, 'times ...']]:
    """Repeats each array along a new first axis.

    The transpose is one reduction of all cotangents. All arrays have one shape and one type.
    """
    return _repeat.bind(*arrays, times=times)


def _repeated(*arrays: Array, times: int) -> list[Array]:
    return [jnp.broadcast_to(x, (times, *x.shape)) for x in arrays]


def _summed(*arrays: Array) -> list[Array]:
    zeros = tuple(jnp.zeros((), x.dtype) for x in arrays)
    return list(lax.reduce(arrays, zeros, _add, (0,)))


def _add(left: Sequence[Array], right: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(x + y for x, y in zip(left, right, strict=True))


def _mapped_at(place: int, arrays: Sequence[Array], axes: Sequence[Any]) -> list[Array]:
    """Returns the arrays with the mapped axis at `place`, also those that have none."""
    size = next(x.shape[axis] for x, axis in zip(arrays, axes, strict=True) if axis is not None)
    return [
        jnp.moveaxis(x, axis, place)
        if axis is not None
        else jnp.broadcast_to(jnp.expand_dims(x, place), (*x.shape[:place], size, *x.shape[place:]))
        for x, axis in zip(arrays, axes, strict=True)
    ]


def _repeat_batch(arrays: Sequence[Array], axes: Sequence[Any], *, times: int) -> Any:
    return _repeat.bind(*_mapped_at(0, arrays, axes), times=times), [1] * len(arrays)


def _sum_batch(arrays: Sequence[Array], axes: Sequence[Any]) -> Any:
    return _sum.bind(*_mapped_at(1, arrays, axes)), [0] * len(arrays)


def _repeat_transpose(cotangents: Sequence[Any], *arrays: Any, times: int) -> list[Array]:
    return _sum.bind(*map(ad.instantiate_zeros, cotangents))


def _sum_transpose(cotangents: Sequence[Any], *arrays: Any) -> list[Array]:
    times = arrays[0].aval.shape[0]
    return _repeat.bind(*map(ad.instantiate_zeros, cotangents), times=times)


def _primitive(name: str, value: Any, transpose: Any, batch: Any) -> Primitive:
    made = Primitive(name)
    made.multiple_results = True
    made.def_impl(value)
    mlir.register_lowering(made, mlir.lower_fun(value, multiple_results=True))
    ad.deflinear2(made, transpose)
    batching.primitive_batchers[made] = batch
    return made


_repeat = _primitive('repeat_together', _repeated, _repeat_transpose, _repeat_batch)
_sum = _primitive('sum_together', _summed, _sum_transpose, _sum_batch)


@_repeat.def_abstract_eval
def _repeat_shapes(*arrays: Any, times: int) -> list[Any]:
    return [ShapedArray((times, *x.shape), x.dtype) for x in arrays]


@_sum.def_abstract_eval
def _sum_shapes(*arrays: Any) -> list[Any]:
    return [ShapedArray(x.shape[1:], x.dtype) for x in arrays]
