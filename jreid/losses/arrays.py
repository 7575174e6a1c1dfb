"""Types of the losses' arguments, and masked means and softmaxes."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

# Losses accept JAX and numpy arrays of any float type, and scalars that may be traced.
AnyArray: TypeAlias = jax.Array | np.ndarray
Scalar: TypeAlias = float | int | np.number | Float[AnyArray, ''] | Int[AnyArray, '']


def as_float(x: Shaped[AnyArray, '...'] | Scalar) -> Float[jax.Array, '...']:
    """Returns the array in float32, or in its own type if that is wider.

    Sums in bfloat16 would lose the digits of a loss.
    """
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def masked_mean(
    values: Float[AnyArray, '...'],
    where: Bool[AnyArray, '...'] | None = None,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Float[jax.Array, '...']:
    """Computes the mean of the values that `where` keeps; 0 if it keeps none.

    `where` broadcasts against `values` as in numpy. Values left out may be NaN: they enter neither
    the mean nor its gradient.
    """
    values = as_float(values)
    keep = (
        jnp.ones(values.shape, bool)
        if where is None
        else jnp.broadcast_to(jnp.asarray(where), values.shape)
    )
    count = jnp.sum(keep, axis=axis)
    return jnp.sum(jnp.where(keep, values, 0), axis=axis) / jnp.maximum(count, 1)


def masked_log_softmax(
    logits: Float[AnyArray, '*n c'], valid: Bool[AnyArray, '...'] | None = None
) -> Float[jax.Array, '*n c']:
    """Computes the log-softmax over the last axis among valid entries; -inf elsewhere.

    A row without any valid entry is -inf throughout. Gradients are finite unless the cotangent of a
    masked entry is infinite.
    """
    logits = as_float(logits)
    if valid is None:
        return jax.nn.log_softmax(logits, axis=-1)
    keep = jnp.broadcast_to(jnp.asarray(valid), logits.shape)
    some = jnp.any(keep, axis=-1, keepdims=True)
    peak = jax.lax.stop_gradient(
        jnp.max(logits, axis=-1, keepdims=True, where=keep, initial=-jnp.inf)
    )
    shifted = jnp.where(keep, logits, 0) - jnp.where(some, peak, 0)
    # Masked entries enter exp as 0 and are dropped after it: exp of a large masked logit would be
    # inf, and its gradient NaN.
    total = jnp.sum(
        jnp.where(keep, jnp.exp(jnp.where(keep, shifted, 0)), 0), axis=-1, keepdims=True
    )
    return jnp.where(keep, shifted - jnp.log(jnp.where(some, total, 1)), -jnp.inf)
