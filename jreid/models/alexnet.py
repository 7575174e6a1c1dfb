"""AlexNet (Krizhevsky et al. 2012) as Caffe has it: groups of 2 in conv2, conv4, conv5, local response normalisation, pooling that rounds sizes up."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jreid.models.convolution import Conv

Maps = Float[Array, 'b h w c']


def local_response_norm(x: Maps, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Maps:
    """x / (k + alpha / size * sum of squares over `size` neighbouring channels)^beta, zeros beyond the ends (paper, Sec. 3.3, with Caffe's alpha / size)."""
    channels = x.shape[-1]
    squares = jnp.pad(x * x, ((0, 0), (0, 0), (0, 0), (size // 2, (size - 1) // 2)))
    total = sum(squares[..., offset : offset + channels] for offset in range(size))
    return x * (k + alpha / size * total) ** -beta


def max_pool_ceil(x: Maps, *, size: int = 3, stride: int = 2) -> Maps:
    """Max pooling whose last window may hang over the edge: ceil((h - size) / stride) + 1 rows, as in Caffe and PyTorch's `ceil_mode`."""

    def hang(length: int) -> tuple[int, int]:
        windows = math.ceil((length - size) / stride) + 1
        windows -= (windows - 1) * stride >= length
        return 0, max(0, (windows - 1) * stride + size - length)

    pads = ((0, 0), hang(x.shape[1]), hang(x.shape[2]), (0, 0))
    return lax.reduce_window(x, jnp.asarray(-jnp.inf, x.dtype), lax.max, (1, size, size, 1), (1, stride, stride, 1), pads)


class AlexNetStem(nn.Module):
    """conv1 and conv2: 224x224 images to the 13x13x256 map after pool2."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Maps) -> Maps:
        x = nn.relu(Conv(96, 11, 4, 0, use_bias=True, dtype=self.dtype, name='conv1')(images))
        x = max_pool_ceil(local_response_norm(x))
        x = nn.relu(Conv(256, 5, 1, 2, groups=2, use_bias=True, dtype=self.dtype, name='conv2')(x))
        return max_pool_ceil(local_response_norm(x)).astype(jnp.float32)


class AlexNetTrunk(nn.Module):
    """conv3 to pool5: a 13x13 map of any number of channels to 6x6x256 (MTDnet feeds it two images' maps, 512 channels)."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        x = nn.relu(Conv(384, 3, 1, 1, use_bias=True, dtype=self.dtype, name='conv3')(x))
        x = nn.relu(Conv(384, 3, 1, 1, groups=2, use_bias=True, dtype=self.dtype, name='conv4')(x))
        x = nn.relu(Conv(256, 3, 1, 1, groups=2, use_bias=True, dtype=self.dtype, name='conv5')(x))
        return max_pool_ceil(x).astype(jnp.float32)


class AlexNetDense(nn.Module):
    """fc6 and fc7 with ReLU and dropout: a map to [b, width]. Training needs the random stream 'dropout'."""

    width: int = 4096
    rate: float = 0.5

    @nn.compact
    def __call__(self, x: Maps, train: bool = False) -> Float[Array, 'b d']:
        x = x.reshape(x.shape[0], -1)
        for name in ('fc6', 'fc7'):
            x = nn.relu(nn.Dense(self.width, kernel_init=nn.initializers.he_normal(), name=name)(x))
            x = nn.Dropout(self.rate, deterministic=not train)(x)
        return x


class AlexNet(nn.Module):
    """The convolutional part: images [b, 224, 224, 3], RGB minus the mean, to the map after pool5 [b, 6, 6, 256]. It has no batch statistics.

    `last_stride` is there for the contract of the backbones and must be 1: the network has no strided last stage.
    """

    features: int = 256
    last_stride: int = 1
    dtype: Any = jnp.float32

    def setup(self) -> None:
        if self.last_stride != 1:
            raise ValueError(f'last_stride is {self.last_stride}; AlexNet has no strided last stage, so it must be 1')
        self.stem = AlexNetStem(self.dtype)
        self.trunk = AlexNetTrunk(self.dtype)

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """The feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """The map after pool2."""
        return self.stem(images)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """conv3 to pool5 applied to the map after pool2."""
        return self.trunk(x)


def alexnet(**options: Any) -> AlexNet:
    """Caffe's AlexNet, 256 features."""
    return AlexNet(**options)
