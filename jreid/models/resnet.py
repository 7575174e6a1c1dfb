"""ResNet-18, 34 and 50 (He et al. 2016, arXiv:1512.03385) with torchvision's conventions: stride
on the 3x3 convolution, zeros (1, 1) before strided ones; and IBN-a of it (Pan et al. 2018,
arXiv:1807.09441).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.norm import BatchNorm, InstanceBatchNorm
from jreid.models.pooling import max_pool
from jreid.models.remat import block

Maps = Float[Array, 'b h w c']


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `width` channels out. With `ibn` the first norm is
    IBN-a's.
    """

    width: int
    stride: int = 1
    dtype: Any = jnp.float32
    ibn: bool = False

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        conv = partial(Conv, dtype=self.dtype)
        norm = partial(BatchNorm, dtype=self.dtype)
        first = partial(InstanceBatchNorm if self.ibn else BatchNorm, 'relu', dtype=self.dtype)
        y = conv(self.width, 3, self.stride, 1, name='conv1')(x)
        y = first(name='bn1')(y, train)
        y = conv(self.width, 3, 1, 1, name='conv2')(y)
        y = norm(name='bn2')(y, train)
        if self.stride != 1 or x.shape[-1] != self.width:
            x = norm(name='downsample_bn')(
                conv(self.width, 1, self.stride, name='downsample_conv')(x), train
            )
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions and a shortcut; 4 `width` channels out. With `ibn` the
    first norm is IBN-a's.
    """

    width: int
    stride: int = 1
    dtype: Any = jnp.float32
    ibn: bool = False

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        conv = partial(Conv, dtype=self.dtype)
        norm = partial(BatchNorm, dtype=self.dtype)
        first = partial(InstanceBatchNorm if self.ibn else BatchNorm, 'relu', dtype=self.dtype)
        y = first(name='bn1')(conv(self.width, 1, name='conv1')(x), train)
        y = norm('relu', name='bn2')(conv(self.width, 3, self.stride, 1, name='conv2')(y), train)
        y = norm(name='bn3')(conv(4 * self.width, 1, name='conv3')(y), train)
        if self.stride != 1 or x.shape[-1] != 4 * self.width:
            x = norm(name='downsample_bn')(
                conv(4 * self.width, 1, self.stride, name='downsample_conv')(x), train
            )
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Images [b, h, w, 3] to the last stage's map [b, h/16, w/16, features] (`last_stride` 1,
    the habit of re-identification) or h/32 (2, ImageNet's).

    Attributes:
      ibn: instance norm for half of the channels of the first norm of every block of stages 1 to 3
        (IBN-a).
    """

    blocks: tuple[int, ...]
    block: Callable[..., nn.Module]
    features: int
    ibn: bool = False
    last_stride: int = 1
    dtype: Any = jnp.float32
    remat: bool = False

    def setup(self) -> None:
        self.conv1 = Conv(64, 7, 2, 3, dtype=self.dtype)
        self.bn1 = BatchNorm('relu', dtype=self.dtype)
        strides = (1, 2, 2, self.last_stride)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            [
                self.block(
                    64 * 2**stage,
                    strides[stage] if index == 0 else 1,
                    self.dtype,
                    self.ibn and stage < 3,
                )
                for index in range(count)
            ]
            for stage, count in enumerate(self.blocks)
        )

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """Computes the third stage's map [b, h/16, w/16, c], which DIEN may mask."""
        x = self.bn1(self.conv1(images), train)
        x = max_pool(x, size=3, stride=2, pads=((1, 1), (1, 1)))
        for stage in (1, 2, 3):
            x = self._stage(stage, x, train)
        return x.astype(jnp.float32)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """Applies the fourth stage to a third-stage map."""
        return self._stage(4, x, train).astype(jnp.float32)

    def _stage(self, stage: int, x: Maps, train: bool) -> Maps:
        for index in range(self.blocks[stage - 1]):
            x = self._block(stage, index, x, train)
        return x

    def _block(self, stage: int, index: int, x: Maps, train: bool) -> Maps:
        return block(
            self, lambda network, y: getattr(network, f'layer{stage}')[index](y, train), x, train
        )


def resnet18(**options: Any) -> ResNet:
    """Builds ResNet-18, 512 features."""
    return ResNet((2, 2, 2, 2), BasicBlock, 512, **options)


def resnet34(**options: Any) -> ResNet:
    """Builds ResNet-34, 512 features."""
    return ResNet((3, 4, 6, 3), BasicBlock, 512, **options)


def resnet50(**options: Any) -> ResNet:
    """Builds ResNet-50, 2048 features."""
    return ResNet((3, 4, 6, 3), Bottleneck, 2048, **options)


def resnet50_ibn_a(**options: Any) -> ResNet:
    """Builds ResNet-50-IBN-a, 2048 features."""
    return ResNet((3, 4, 6, 3), Bottleneck, 2048, ibn=True, **options)
