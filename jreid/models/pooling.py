"""Pooling over windows, with backward passes that XLA runs fast on a CPU."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jreid.models.writings import Pads, by_platform, spread, taps

Writing = Literal['auto', 'windows', 'shifted']


def max_pool(
    x: Float[Array, 'b h w c'],
    *,
    size: int,
    stride: int,
    pads: Pads = ((0, 0), (0, 0)),
    writing: Writing = 'auto',
) -> Float[Array, 'b i j c']:
    """Returns the largest value of each size x size window, -inf beyond the edges.

    The gradient goes to the first of equal values, as in PyTorch.

    Args:
      writing: 'windows' (XLA's reduction over windows), 'shifted' (`max_pool_shifted`) or 'auto'
        (shifted on a CPU, windows elsewhere, chosen for the platform that the computation is
        lowered for).
    """
    statics = (size, stride, pads)
    if writing == 'auto':
        return by_platform(max_pool_shifted, _max_pool_windows, (x,), statics)
    return (max_pool_shifted if writing == 'shifted' else _max_pool_windows)(x, *statics)


def average_pool_halving(x: Float[Array, 'b h w c']) -> Float[Array, 'b i j c']:
    """Averages windows of 2x2 pixels; an odd last row or column is left out, as in PyTorch.

    A mean over axes, whose gradient is a broadcast: XLA's CPU runs a window's slowly.
    """
    b, h, w, c = x.shape
    windows = x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c)
    return jnp.mean(windows, axis=(2, 4))


def _max_pool_windows(x: Array, size: int, stride: int, pads: Pads) -> Array:
    # A traced start value would make it a reduction that has no derivative.
    return lax.reduce_window(
        x,
        np.asarray(-np.inf, x.dtype),
        lax.max,
        (1, size, size, 1),
        (1, stride, stride, 1),
        ((0, 0), *pads, (0, 0)),
    )


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def max_pool_shifted(
    x: Float[Array, 'b h w c'], size: int, stride: int, pads: Pads
) -> Float[Array, 'b i j c']:
    """Returns max pooling as the largest of size*size shifted images.

    The backward pass keeps one byte per window, the place of its largest value. XLA's CPU scatters
    the gradient window by window: after ResNet's stem (256x128, batch 8) both passes take a tenth
    of the time this way.
    """
    return _largest(x, size, stride, pads)[0]


def _largest(x: Array, size: int, stride: int, pads: Pads) -> tuple[Array, Array]:
    views = taps(x, (size, size), stride, pads, fill=-np.inf)
    largest, place = views[0], jnp.zeros(views[0].shape, jnp.uint8)
    for i, view in enumerate(views[1:], start=1):
        place = jnp.where(view > largest, jnp.uint8(i), place)
        largest = jnp.maximum(largest, view)
    return largest, place


@max_pool_shifted.defjvp
def _max_pool_jvp(
    size: int, stride: int, pads: Pads, primals: Any, tangents: Any
) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    largest, place = _largest(x, size, stride, pads)
    return largest, _picked(tangent, place, size, stride, pads)


@partial(jax.checkpoint, prevent_cse=False, static_argnums=(2, 3, 4))
def _picked(x: Array, place: Array, size: int, stride: int, pads: Pads) -> Array:
    """Returns the value of x at each window's place."""
    return spread(
        lambda m, n, part, where: jnp.where(where == m * size + n, part, 0),
        x,
        (place,),
        size,
        stride,
        pads,
    )
