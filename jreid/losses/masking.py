"""Means and softmaxes over the part of an array that a mask keeps."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jreid.losses.arrays import AnyArray, as_float


def masked_mean(
    values: Float[AnyArray, '...'],
    where: Bool[AnyArray, '...'] | None = None,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Float[jax.Array, '...']:
    """Mean of the values that `where` keeps; 0 where it keeps none.

    `where` broadcasts against `values` as numpy does. Values left out may be NaN: neither the mean
    nor its gradient sees them.
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
    """Log-softmax over the last axis among the entries that `valid` keeps; -inf elsewhere.

    Gradients are finite, also of a row without any valid entry (all -inf), as long as no infinity
    is fed back for a masked entry.
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
    # Masked entries are sent to exp as 0 and dropped after it: exp of a large masked logit would be
    # inf, and its gradient NaN.
    total = jnp.sum(
        jnp.where(keep, jnp.exp(jnp.where(keep, shifted, 0)), 0), axis=-1, keepdims=True
    )
    return jnp.where(keep, shifted - jnp.log(jnp.where(some, total, 1)), -jnp.inf)
