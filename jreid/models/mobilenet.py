"""MobileNet-v1 1.0 (Howard et al. 2017, arXiv:1704.04861) with TensorFlow's conventions: 'SAME'
padding, ReLU6, batch-norm epsilon 1e-3.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.norm import BatchNorm
from jreid.models.remat import apply_blocks
from jreid.models.writings import Writing

Maps = Float[Array, 'b h w c']

# (width, stride) of the 13 separable convolutions.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
LAST_STRIDED = 11


class Separable(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each with batch norm and ReLU6."""

    width: int
    stride: int = 1
    dtype: Any = jnp.float32
    momentum: float = 0.9
    writing: Writing = 'auto'

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        norm = partial(BatchNorm, 'relu6', epsilon=1e-3, momentum=self.momentum, dtype=self.dtype)
        channels = x.shape[-1]
        depthwise = Conv(
            channels,
            3,
            self.stride,
            'SAME',
            groups=channels,
            dtype=self.dtype,
            writing=self.writing,
            name='depthwise_conv',
        )
        x = norm(name='depthwise_bn')(depthwise(x), train)
        return norm(name='pointwise_bn')(
            Conv(self.width, 1, dtype=self.dtype, name='pointwise_conv')(x), train
        )


class MobileNetV1(nn.Module):
    """Images [b, h, w, 3], normalised as (x - 127.5) / 127.5, to a map [b, h/16, w/16, 1024]
    (`last_stride` 1) or h/32 (2, ImageNet's).
    """

    features: int = 1024
    last_stride: int = 1
    dtype: Any = jnp.float32
    momentum: float = 0.9
    writing: Writing = 'auto'
    remat: bool = False

    def setup(self) -> None:
        self.conv0 = Conv(32, 3, 2, 'SAME', dtype=self.dtype)
        self.bn0 = BatchNorm('relu6', epsilon=1e-3, momentum=self.momentum, dtype=self.dtype)
        strides = [
            self.last_stride if index == LAST_STRIDED else stride
            for index, (_, stride) in enumerate(BLOCKS)
        ]
        self.blocks = [
            Separable(width, stride, self.dtype, self.momentum, self.writing)
            for (width, _), stride in zip(BLOCKS, strides, strict=True)
        ]

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """Computes the map [b, h/16, w/16, 512] before the last stride, which DIEN may mask."""
        x = self.bn0(self.conv0(images), train)
        return apply_blocks(self, range(LAST_STRIDED), x, train).astype(jnp.float32)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """Applies the last two separable convolutions to the map of `stem_to_stage3`."""
        x = apply_blocks(self, range(LAST_STRIDED, len(BLOCKS)), x, train)
        return x.astype(jnp.float32)


def mobilenet_v1(**options: Any) -> MobileNetV1:
    """Builds MobileNet-v1 1.0, 1024 features."""
    return MobileNetV1(**options)
