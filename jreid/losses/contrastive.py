"""Contrastive loss on pairs."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jreid.losses.arrays import AnyArray, Scalar, as_float
from jreid.losses.distances import paired_squared, safe_sqrt
from jreid.losses.masking import masked_mean


def pair_contrastive(
    x: Float[AnyArray, 'n d'],
    y: Float[AnyArray, 'n d'],
    same: Bool[AnyArray, ' n'] | Int[AnyArray, ' n'] | Float[AnyArray, ' n'],
    *,
    margin: Scalar = 1.0,
) -> Float[jax.Array, '']:
    """Mean over the pairs of s/2 d^2 + (1 - s)/2 max(0, margin - d)^2, with d = ||x_i - y_i|| and s
    = same_i in {0, 1}.

    For MTDnet-cross x and y are the two networks' fc7 responses to a source and a target pair, and
    s the XNOR of the pairs' labels.

    Source: Hadsell, Chopra & LeCun 2006, Eq. 4; Chen et al. 2017 (MTDnet), Eq. 4.
    Differs from the paper: MTDnet prints a minus sign before the sum (a misprint); the mean instead
    of the sum over the pairs.
    """
    similar = as_float(same)
    squared = paired_squared(x, y)
    short = jnp.maximum(margin - safe_sqrt(squared), 0)
    return masked_mean(similar / 2 * squared + (1 - similar) / 2 * jnp.square(short))
