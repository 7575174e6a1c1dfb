"""Supervision of an attribute attention matrix by binary attribute labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jreid.losses.arrays import AnyArray, as_float
from jreid.losses.distances import safe_sqrt
from jreid.losses.masking import masked_mean


def attribute_attention(
    attention: Float[AnyArray, 'b m m'],
    attributes: Float[AnyArray, 'b m'] | Int[AnyArray, 'b m'] | Bool[AnyArray, 'b m'],
    *,
    where: Bool[AnyArray, ' b'] | None = None,
) -> Float[jax.Array, '']:
    """Mean over the batch of the Frobenius norm ||U - U_a||_F, where U_a repeats the label vector
    as every column: U_a[k, j] = a_k.

    `attention` U in [0, 1] (after the sigmoid), `attributes` a in {0, 1}, or soft labels between.
    Images that `where` leaves out (nobody annotated them, say) do not count, and their labels may
    be NaN; 0 where all are left out.

    Source: DMTNet (2019), Eq. 3.
    """
    labels = as_float(attributes)
    if where is not None:
        # before the norm: a NaN behind a mask would still reach the gradient
        labels = jnp.where(jnp.asarray(where)[:, None], labels, 0)
    difference = as_float(attention) - labels[:, :, None]
    return masked_mean(safe_sqrt(jnp.sum(jnp.square(difference), axis=(1, 2))), where)
