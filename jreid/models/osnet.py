"""OSNet (Zhou et al. 2019, arXiv:1905.00953): blocks of four streams, whose 3x3 convolutions see 3
to 9 pixels, mixed by one gate per channel. And OSNet-AIN (Zhou et al. 2021, arXiv:1910.06827), with
instance norms where a search put them.

Names and arithmetic are torchreid's, in which the authors published it.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.norm import BatchNorm, InstanceNorm
from jreid.models.pooling import average_pool_halving, max_pool
from jreid.models.remat import block
from jreid.models.writings import Writing

Maps = Float[Array, 'b h w c']

STREAMS = 'abcd'
"""Stream 'a' is one 3x3 convolution deep, 'd' four."""
SEARCHED = ((True, True), (False, True), (True, False))
"""Blocks of the three stages that have an instance norm in OSNet-AIN; so has the stem."""


class ConvNorm(nn.Module):
    """A convolution, batch norm or, with `instance`, instance norm, and a ReLU unless `relu` is
    False.
    """

    width: int
    kernel: int = 1
    stride: int = 1
    relu: bool = True
    instance: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        x = Conv(
            self.width, self.kernel, self.stride, self.kernel // 2, dtype=self.dtype, name='conv'
        )(x)
        norm = InstanceNorm if self.instance else BatchNorm
        return norm('relu' if self.relu else 'none', dtype=self.dtype, name='bn')(x, train)


class LightConv(nn.Module):
    """A 1x1 and a depthwise 3x3 convolution, batch norm and ReLU."""

    width: int
    dtype: Any = jnp.float32
    writing: Writing = 'auto'

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        x = Conv(self.width, 1, dtype=self.dtype, name='conv1')(x)
        depthwise = Conv(
            self.width,
            3,
            1,
            1,
            groups=self.width,
            dtype=self.dtype,
            writing=self.writing,
            name='conv2',
        )
        return BatchNorm('relu', dtype=self.dtype, name='bn')(depthwise(x), train)


class Gate(nn.Module):
    """Weights in (0, 1) of an image's channels, from their means; one 16th as wide inside."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        width = x.shape[-1]
        conv = partial(Conv, kernel_size=1, use_bias=True, dtype=self.dtype)
        means = jnp.mean(x, axis=(1, 2), keepdims=True, dtype=jnp.float32)
        hidden = nn.relu(conv(max(width // 16, 1), name='fc1')(means))
        return x * nn.sigmoid(conv(width, name='fc2')(hidden))


class OmniScaleBlock(nn.Module):
    """Four streams of 1 to 4 light convolutions, gated by the same gate and added, and a shortcut;
    a quarter as wide inside. With `instance`, instance norm ends the streams.
    """

    width: int
    instance: bool = False
    dtype: Any = jnp.float32
    writing: Writing = 'auto'

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        conv = partial(ConvNorm, dtype=self.dtype)
        inside = self.width // 4
        first = conv(inside, name='conv1')(x, train)
        gate, mixed = Gate(self.dtype, name='gate'), jnp.zeros((), self.dtype)
        for depth, stream in enumerate(STREAMS, start=1):
            y = first
            for index in range(depth):
                name = f'conv2{stream}_{index}'
                y = LightConv(inside, self.dtype, self.writing, name=name)(y, train)
            mixed = mixed + gate(y)
        last = conv(self.width, relu=False, instance=self.instance, name='conv3')
        out = last(mixed, train)
        if x.shape[-1] != self.width:
            x = conv(self.width, relu=False, name='downsample')(x, train)
        return nn.relu(x + out)


class OSNet(nn.Module):
    """Maps images [b, h, w, 3] to the map [b, h/16, w/16, widths[-1]] before pooling.

    With `embedding` it gives the network's own feature as a map of one place, [b, 1, 1, 512].

    `last_stride` is there for the contract of the backbones and must be 1: the last stage is not
    strided.

    Attributes:
      widths: channels of the stem and of the three stages.
      instance: instance norms of OSNet-AIN.
      embedding: average the map and apply the layer that torchreid trains behind it (fully
        connected, batch norm, ReLU), which its re-identification weights hold. Without it, that
        layer of a weight file is not used. Any pooling leaves one place as it is. Systems that look
        at places of the map (SSG's halves, PTL's parsing, attention) need it without.
    """

    widths: tuple[int, ...] = (64, 256, 384, 512)
    instance: bool = False
    embedding: bool = False
    last_stride: int = 1
    dtype: Any = jnp.float32
    writing: Writing = 'auto'
    remat: bool = False

    @property
    def features(self) -> int:
        """Returns the channels of the result."""
        return 512 if self.embedding else self.widths[-1]

    def setup(self) -> None:
        if self.last_stride != 1:
            raise ValueError(
                f'last_stride is {self.last_stride}; OSNet has no strided last stage, so it must be'
                ' 1 (--config.model.options.last_stride=1)'
            )
        if len(self.widths) != 4 or any(width % 4 for width in self.widths):
            raise ValueError(
                f'widths are {self.widths}; expected four multiples of 4, the channels of the stem'
                ' and of three stages'
            )
        stem, *stages = self.widths
        conv = partial(ConvNorm, dtype=self.dtype)
        self.conv1 = conv(stem, 7, 2, instance=self.instance)
        self.conv2, self.conv3, self.conv4 = (
            [
                OmniScaleBlock(width, self.instance and searched, self.dtype, self.writing)
                for searched in blocks
            ]
            for width, blocks in zip(stages, SEARCHED, strict=True)
        )
        self.pool2, self.pool3 = conv(stages[0]), conv(stages[1])
        self.conv5 = conv(stages[2])
        if self.embedding:
            self.fc = nn.Dense(512, kernel_init=nn.initializers.normal(0.01))
            self.fc_bn = BatchNorm('relu')

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """Computes the second stage's map [b, h/16, w/16, widths[2]], the last before conv4."""
        x = max_pool(self.conv1(images, train), size=3, stride=2, pads=((1, 1), (1, 1)))
        for stage in (2, 3):
            x = getattr(self, f'pool{stage}')(self._stage(stage, x, train), train)
            x = average_pool_halving(x)
        return x.astype(jnp.float32)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """Applies conv4 and conv5, and what `embedding` adds."""
        x = self.conv5(self._stage(4, x, train), train).astype(jnp.float32)
        if self.embedding:
            x = self.fc_bn(self.fc(jnp.mean(x, axis=(1, 2), keepdims=True)), train)
        return x

    def _stage(self, stage: int, x: Maps, train: bool) -> Maps:
        for index in range(2):
            x = self._block(stage, index, x, train)
        return x

    def _block(self, stage: int, index: int, x: Maps, train: bool) -> Maps:
        return block(
            self, lambda network, y: getattr(network, f'conv{stage}')[index](y, train), x, train
        )


def osnet_x1_0(**options: Any) -> OSNet:
    """Builds OSNet, 512 features."""
    return OSNet(**options)


def osnet_x0_75(**options: Any) -> OSNet:
    """Builds OSNet of three quarters of the channels, 384 features."""
    return OSNet(**{'widths': (48, 192, 288, 384), **options})


def osnet_x0_5(**options: Any) -> OSNet:
    """Builds OSNet of half the channels, 256 features."""
    return OSNet(**{'widths': (32, 128, 192, 256), **options})


def osnet_x0_25(**options: Any) -> OSNet:
    """Builds OSNet of a quarter of the channels, 128 features."""
    return OSNet(**{'widths': (16, 64, 96, 128), **options})


def osnet_ain_x1_0(**options: Any) -> OSNet:
    """Builds OSNet-AIN, 512 features."""
    return OSNet(instance=True, **options)
