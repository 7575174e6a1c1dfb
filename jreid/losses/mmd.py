"""Maximum mean discrepancy between two sets of features."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jreid.losses.arrays import AnyArray, Scalar, as_float, masked_mean
from jreid.losses.distances import cross_squared, paired_squared, safe_sqrt


def linear_mmd(
    x: Float[AnyArray, 'n d'], y: Float[AnyArray, 'm d'], *, squared: bool = True
) -> Float[jax.Array, '']:
    """Computes ||mean x - mean y||^2, or the norm itself with `squared=False`.

    The result is 0 if a set is empty. The gradient of the norm is 0 where the means coincide.

    Source: Gretton et al. 2012 with the linear kernel; DMTNet Eq. 8 (squared), DIEN Eq. 2 (not
    squared).
    """
    x, y = as_float(x), as_float(y)
    if 0 in (x.shape[0], y.shape[0]):
        return jnp.zeros((), jnp.result_type(x, y))
    distance = paired_squared(jnp.mean(x, axis=0), jnp.mean(y, axis=0))
    return distance if squared else safe_sqrt(distance)


def rbf_mmd(
    x: Float[AnyArray, 'n d'],
    y: Float[AnyArray, 'm d'],
    *,
    bandwidths: Sequence[Scalar] | Float[AnyArray, ' b'] | None = None,
    unbiased: bool = False,
) -> Float[jax.Array, '']:
    """Computes the squared MMD under a mean of Gaussian kernels.

    The kernel is k(a, b) = mean over s of exp(-||a - b||^2 / (2 s^2)). The biased estimate is mean
    k(x, x') + mean k(y, y') - 2 mean k(x, y), between 0 and 2, and 0 if a set is empty. The
    unbiased estimate leaves the pairs (i, i) out of the first two means and can be below 0.

    Args:
      bandwidths: values of s, above 0, in the units of the features. By default 2 s^2 is 1/4, 1/2,
        1, 2 and 4 times the mean squared distance over all distinct pairs of x and y together. No
        gradient flows through it.

    Raises:
      ValueError: the unbiased estimate of a set with fewer than 2 rows, or bandwidths that are not
        above 0.

    Source: Gretton et al. 2012, "A Kernel Two-Sample Test", Eq. 3 and 5; the bandwidths as in Long
    et al. 2015 (DAN).
    """
    x, y = as_float(x), as_float(y)
    n, m = x.shape[0], y.shape[0]
    if unbiased and min(n, m) < 2:
        raise ValueError(
            f'unbiased rbf_mmd of {n} and {m} rows: each set needs at least 2; use unbiased=False'
            ' or larger batches'
        )
    if bandwidths is not None and (
        len(bandwidths) == 0 or any(isinstance(s, (int, float)) and s <= 0 for s in bandwidths)
    ):
        raise ValueError(
            f'bandwidths {bandwidths}: expected at least one, each above 0; None chooses them from'
            ' the distances'
        )
    if 0 in (n, m):
        return jnp.zeros((), jnp.result_type(x, y))
    xx, yy, xy = cross_squared(x, x), cross_squared(y, y), cross_squared(x, y)
    if bandwidths is None:
        spread = jax.lax.stop_gradient(
            (jnp.sum(xx) + jnp.sum(yy) + 2 * jnp.sum(xy)) / ((n + m) * (n + m - 1))
        )
        doubled_squares = jnp.where(spread == 0, 1, spread) * jnp.asarray(
            [0.25, 0.5, 1.0, 2.0, 4.0]
        )
    else:
        doubled_squares = 2 * jnp.square(jnp.asarray(bandwidths, xx.dtype))

    def kernel(distances: Float[jax.Array, 'a b']) -> Float[jax.Array, 'a b']:
        return jnp.mean(
            jnp.stack([jnp.exp(-distances / scale) for scale in doubled_squares]), axis=0
        )

    def within(distances: Float[jax.Array, 'a a']) -> Float[jax.Array, '']:
        other = ~jnp.eye(distances.shape[0], dtype=bool) if unbiased else None
        return masked_mean(kernel(distances), other)

    return within(xx) + within(yy) - 2 * jnp.mean(kernel(xy))
