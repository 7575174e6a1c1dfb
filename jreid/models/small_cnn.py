"""A small convolutional network for the CPU demo and for tests."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.norm import BatchNorm
from jreid.models.remat import block

Maps = Float[Array, 'b h w c']


class SmallCNN(nn.Module):
    """Blocks of 3x3 convolution, batch norm and ReLU; every block but the last halves the map, and
    so does the last with `last_stride` 2.

    `widths` are the blocks' channels; the last is the number of features. The default takes 30
    million multiply-adds for a 128x64 image, most of them in the last blocks, where a CPU's
    convolution runs best.
    """

    widths: tuple[int, ...] = (32, 48, 96, 160, 256)
    last_stride: int = 1
    dtype: Any = jnp.float32
    remat: bool = False

    @property
    def features(self) -> int:
        """Returns the channels of the feature map."""
        return self.widths[-1]

    def setup(self) -> None:
        strides = (2,) * (len(self.widths) - 1) + (self.last_stride,)
        self.convs = [
            Conv(width, 3, stride, 1, dtype=self.dtype)
            for width, stride in zip(self.widths, strides, strict=True)
        ]
        self.norms = [BatchNorm('relu', dtype=self.dtype) for _ in self.widths]

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """Computes the map before the last block, which DIEN may mask."""
        x = images
        for index in range(len(self.widths) - 1):
            x = self._block(index, x, train)
        return x.astype(jnp.float32)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """Applies the last block to the map of `stem_to_stage3`."""
        return self._block(len(self.widths) - 1, x, train).astype(jnp.float32)

    def _block(self, index: int, x: Maps, train: bool) -> Maps:
        return block(
            self, lambda network, y: network.norms[index](network.convs[index](y), train), x, train
        )


def small_cnn(**options: Any) -> SmallCNN:
    """Builds the demo's network, 256 features unless `widths` says otherwise."""
    return SmallCNN(**options)


def tiny_cnn(**options: Any) -> SmallCNN:
    """Builds a network for tests that compiles in a second, 32 features."""
    return SmallCNN(**{'widths': (8, 16, 32), **options})
