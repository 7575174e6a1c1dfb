"""Euclidean distances that are exact for close points and have finite gradients at 0."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jreid.losses.arrays import AnyArray, as_float

# 64 MiB of float32: more than 64 x 64 pairs of 2048-wide features need, and little for an
# accelerator.
BLOCK_ELEMENTS = 2**24


def safe_sqrt(x: Float[AnyArray, '...']) -> Float[jax.Array, '...']:
    """Computes the square root of x >= 0 with gradient 0 instead of infinity at 0.

    Values below the smallest normal number count as 0; NaN stays NaN.
    """
    x = as_float(x)
    # `x < tiny` and not `x >= tiny`: a NaN must take the branch of the square root.
    vanishes = x < jnp.finfo(x.dtype).tiny
    return jnp.where(vanishes, 0, jnp.sqrt(jnp.where(vanishes, 1, x)))


def paired_squared(
    x: Float[AnyArray, '*#n d'], y: Float[AnyArray, '*#n d']
) -> Float[jax.Array, '*n']:
    """Computes ||x_i - y_i||^2 row by row; leading axes broadcast."""
    return jnp.sum(jnp.square(as_float(x) - as_float(y)), axis=-1)


def unit(x: Float[AnyArray, '*n d']) -> Float[jax.Array, '*n d']:
    """Divides by the length along the last axis; a zero row stays zero, with gradient zero.

    This one is for graphs: it is traced and differentiated, in the accelerator's float32.
    `jreid.retrieval.unit` is for features on the host, in float64, which a device may not have.
    """
    x = as_float(x)
    norm = safe_sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    return x / jnp.where(norm == 0, 1, norm)


@jax.custom_jvp
@jax.jit
def _cross_squared(
    x: Float[jax.Array, 'n d'], y: Float[jax.Array, 'm d']
) -> Float[jax.Array, 'n m']:
    # Differences, not |x|^2 + |y|^2 - 2 x.y, which loses the digits of close pairs of large
    # vectors. XLA often fuses the subtraction into the sum, but not always. Blocks of rows bound
    # the memory of the differences; a batch fits in one block.
    rows = max(1, BLOCK_ELEMENTS // max(1, y.size))
    if rows >= x.shape[0]:
        return paired_squared(x[:, None, :], y[None, :, :])
    return jax.lax.map(lambda row: paired_squared(row[None, :], y), x, batch_size=rows)


@_cross_squared.defjvp
def _cross_squared_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # The derivative uses matrix products, so the backward pass keeps no n x m x d differences.
    (x, y), (dx, dy) = primals, tangents
    centre = jax.lax.stop_gradient(jnp.sum(y, axis=0) / max(y.shape[0], 1))
    u, v = x - centre, y - centre
    high = jax.lax.Precision.HIGHEST
    own_x, own_y = jnp.sum(u * dx, axis=-1), jnp.sum(v * dy, axis=-1)
    crossed = jnp.matmul(dx, v.T, precision=high) + jnp.matmul(u, dy.T, precision=high)
    return _cross_squared(x, y), 2 * (own_x[:, None] + own_y[None, :] - crossed)


def cross_squared(x: Float[AnyArray, 'n d'], y: Float[AnyArray, 'm d']) -> Float[jax.Array, 'n m']:
    """Computes ||x_i - y_j||^2 of all pairs: at least 0, and exactly 0 for equal rows.

    Memory is of order n m + (n + m) d, plus one block of differences.
    """
    return _cross_squared(as_float(x), as_float(y))
