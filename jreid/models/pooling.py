"""Max pooling with a backward pass that XLA runs fast on a CPU."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jreid.models.convolution import Pads, gather, taps

Writing = Literal['auto', 'windows', 'shifted']


def max_pool(
    x: Float[Array, 'b h w c'],
    *,
    size: int,
    stride: int,
    pads: Pads = ((0, 0), (0, 0)),
    writing: Writing = 'auto',
) -> Float[Array, 'b i j c']:
    """Largest value of each size x size window, -inf beyond the edges; the gradient goes to the
    first of equal values, as in PyTorch.

    Args:
      writing: 'windows' (XLA's reduction over windows), 'shifted' (`max_pool_shifted`) or 'auto'
        (shifted on a CPU, windows elsewhere).
    """
    if writing == 'shifted' or (writing == 'auto' and jax.default_backend() == 'cpu'):
        return max_pool_shifted(x, size, stride, pads)
    # A traced start value would make it a reduction that has no derivative.
    return lax.reduce_window(
        x,
        np.asarray(-np.inf, x.dtype),
        lax.max,
        (1, size, size, 1),
        (1, stride, stride, 1),
        ((0, 0), *pads, (0, 0)),
    )


def max_pool_shifted(
    x: Float[Array, 'b h w c'], size: int, stride: int, pads: Pads
) -> Float[Array, 'b i j c']:
    """Max pooling as the largest of size*size shifted images; the backward pass keeps one byte a
    window, the place of its largest value.

    XLA's CPU scatters the gradient window by window: after ResNet's stem (256x128, batch 8) both
    passes take a tenth of the time this way.
    """
    return _pool(x, size, stride, pads, x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _pool(x: Array, size: int, stride: int, pads: Pads, shape: tuple[int, ...]) -> Array:
    return _pool_forward(x, size, stride, pads, shape)[0]


def _pool_forward(
    x: Array, size: int, stride: int, pads: Pads, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    views = taps(x, (size, size), stride, pads, fill=-np.inf)
    largest, place = views[0], jnp.zeros(views[0].shape, jnp.uint8)
    for i, view in enumerate(views[1:], start=1):
        place = jnp.where(view > largest, jnp.uint8(i), place)
        largest = jnp.maximum(largest, view)
    return largest, place


def _pool_backward(
    size: int, stride: int, pads: Pads, shape: tuple[int, ...], place: Array, cotangent: Array
) -> tuple[Array]:
    return (
        gather(
            lambda m, n, part, where: jnp.where(where == m * size + n, part, 0),
            (cotangent, place),
            shape,
            size,
            stride,
            pads,
        ),
    )


_pool.defvjp(_pool_forward, _pool_backward)
