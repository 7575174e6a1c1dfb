"""A 2-D convolution layer with PyTorch's and TensorFlow's padding."""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jreid.models.writings import (
    Pads,
    Writing,
    convolve,
    convolve_groups,
    convolve_unrolled,
    depthwise,
    pointwise,
    pointwise_turned,
)

Padding = int | Literal['SAME']

he_normal = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def resolve_padding(
    padding: Padding, *, size: Sequence[int], kernel: Sequence[int], stride: int
) -> Pads:
    """Returns the zeros (before, after) on the height and the width.

    An int is PyTorch's symmetric padding; 'SAME' is TensorFlow's, which puts an odd zero at the
    end.
    """
    if padding == 'SAME':
        pads = lax.padtype_to_pads(tuple(size), tuple(kernel), (stride, stride), 'SAME')
        return (pads[0], pads[1])
    return ((int(padding), int(padding)), (int(padding), int(padding)))


class Conv(nn.Module):
    """2-D convolution, float32 parameters `kernel` [k, k, c / groups, d] and `bias` [d], computed
    in `dtype`.

    All writings give the same results up to rounding, and all can be differentiated forward and
    backward, vectorised and exported.

    Attributes:
      padding: an int (PyTorch) or 'SAME' (TensorFlow).
      writing: 'grouped' (XLA's convolution), 'shifted' (what XLA's CPU runs fastest: see
        `jreid.models.writings`) or 'auto' ('shifted' on a CPU, 'grouped' elsewhere, chosen for the
        platform that the computation is lowered for).
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: Padding = 0
    groups: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32
    writing: Writing = 'auto'
    kernel_init: nn.initializers.Initializer = he_normal
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, images: Float[Array, 'b h w c']) -> Float[Array, 'b i j d']:
        k, channels = self.kernel_size, images.shape[-1]
        kernel = self.param(
            'kernel', self.kernel_init, (k, k, channels // self.groups, self.features), jnp.float32
        )
        out = self._convolve(images.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            bias = self.param('bias', self.bias_init, (self.features,), jnp.float32)
            out = out + bias.astype(self.dtype)
        return out

    def _convolve(self, images: Array, kernel: Array) -> Array:
        k, stride, groups, channels = self.kernel_size, self.stride, self.groups, images.shape[-1]
        pads = resolve_padding(self.padding, size=images.shape[1:3], kernel=(k, k), stride=stride)
        # The kernel's gradient as a matrix product is faster in float32 alone.
        product: Writing = self.writing if self.dtype == jnp.float32 else 'grouped'
        if k == 1 and groups == 1 and not any(map(any, pads)):
            multiply = pointwise_turned if channels > self.features else pointwise
            return multiply(images, kernel, stride, pads, product)
        if groups == channels == self.features:
            return depthwise(images, kernel, stride, pads, self.writing)
        if 1 < groups != channels:
            return convolve_groups(images, kernel, stride, pads, self.writing)
        if k == 3 and groups == 1 and min(channels, self.features) >= 128:
            return convolve_unrolled(images, kernel, stride, pads, product)
        return convolve(images, kernel, stride, pads)
