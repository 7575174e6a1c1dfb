"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, in its "lite" form): inverted bottlenecks
with ReLU6, no squeeze-and-excitation.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.norm import BatchNorm
from jreid.models.remat import apply_blocks
from jreid.models.writings import Writing

Maps = Float[Array, 'b h w c']


class Stage(NamedTuple):
    """`repeats` inverted bottlenecks: depthwise `kernel`, `stride` of the first, `expand` times
    wider inside, `width` channels out.
    """

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
LAST_STRIDED_STAGE = 5


class InvertedBottleneck(nn.Module):
    """1x1 expansion (unless 1), depthwise convolution, 1x1 projection without activation,
    identity shortcut where shapes agree.
    """

    width: int
    kernel: int
    stride: int
    expand: int
    dtype: Any = jnp.float32
    momentum: float = 0.9
    writing: Writing = 'auto'

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        conv = partial(Conv, dtype=self.dtype)
        norm = partial(BatchNorm, epsilon=1e-3, momentum=self.momentum, dtype=self.dtype)
        inside = x.shape[-1] * self.expand
        y = x
        if self.expand != 1:
            y = norm('relu6', name='bn0')(conv(inside, 1, name='expand_conv')(y), train)
        y = conv(
            inside,
            self.kernel,
            self.stride,
            'SAME',
            groups=inside,
            writing=self.writing,
            name='depthwise_conv',
        )(y)
        y = norm('relu6', name='bn1')(y, train)
        y = norm(name='bn2')(conv(self.width, 1, name='project_conv')(y), train)
        return x + y if self.stride == 1 and x.shape[-1] == self.width else y


class EfficientNetLite(nn.Module):
    """Images [b, h, w, 3], normalised as (x - 127) / 128, to a map [b, h/16, w/16, features]
    (`last_stride` 1) or h/32 (2, ImageNet's).

    Differs from the paper: no drop-connect, since fine-tuning for re-identification is short and
    its batches are small; for the same reason batch norm's momentum is 0.9 and not 0.99.
    """

    features: int = 1280
    last_stride: int = 1
    dtype: Any = jnp.float32
    momentum: float = 0.9
    writing: Writing = 'auto'
    remat: bool = False

    def setup(self) -> None:
        norm = partial(BatchNorm, 'relu6', epsilon=1e-3, momentum=self.momentum, dtype=self.dtype)
        self.conv_stem = Conv(32, 3, 2, 'SAME', dtype=self.dtype)
        self.bn0 = norm()
        blocks = []
        for index, stage in enumerate(STAGES):
            stride = self.last_stride if index == LAST_STRIDED_STAGE else stage.stride
            for repeat in range(stage.repeats):
                blocks.append(
                    InvertedBottleneck(
                        stage.width,
                        stage.kernel,
                        stride if repeat == 0 else 1,
                        stage.expand,
                        self.dtype,
                        self.momentum,
                        self.writing,
                    )
                )
        self.blocks = blocks
        self.conv_head = Conv(self.features, 1, dtype=self.dtype)
        self.bn1 = norm()

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """Computes the map [b, h/16, w/16, 112] before the last stride, which DIEN may mask."""
        x = self.bn0(self.conv_stem(images), train)
        x = apply_blocks(self, range(_blocks_before(LAST_STRIDED_STAGE)), x, train)
        return x.astype(jnp.float32)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """Applies the last two stages and the head to the map of `stem_to_stage3`."""
        first = _blocks_before(LAST_STRIDED_STAGE)
        x = apply_blocks(self, range(first, len(self.blocks)), x, train)
        return self.bn1(self.conv_head(x), train).astype(jnp.float32)


def _blocks_before(stage: int) -> int:
    return sum(s.repeats for s in STAGES[:stage])


def efficientnet_lite0(**options: Any) -> EfficientNetLite:
    """Builds EfficientNet-Lite0, 1280 features."""
    return EfficientNetLite(**options)
