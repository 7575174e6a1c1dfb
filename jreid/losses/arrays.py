"""What the losses accept: JAX or numpy arrays of any float type, and scalars that may be traced."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

AnyArray: TypeAlias = jax.Array | np.ndarray
Scalar: TypeAlias = float | int | np.number | Float[AnyArray, ''] | Int[AnyArray, '']


def as_float(x: Shaped[AnyArray, '...'] | Scalar) -> Float[jax.Array, '...']:
    """The array in float32, or in its own type where that is wider: sums of bfloat16 lose a
    loss's digits.
    """
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
