"""AlexNet (Krizhevsky et al. 2012) as Caffe has it: groups of 2 in conv2, conv4, conv5, local
response normalisation, pooling that rounds sizes up.

Caffe has two networks of it, with the same arrays: `alexnet` (bvlc_alexnet) normalises before it
pools, as the paper; `caffenet` (bvlc_reference_caffenet) pools before it normalises.
"""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.pooling import max_pool
from jreid.models.remat import block

Maps = Float[Array, 'b h w c']
Initial = Literal['caffe', 'he']

# Caffe's random start: deviation of the weights, inputs of a unit in the whole network, constant
# bias.
_CAFFE = {
    'conv1': (0.01, 363, 0.0),
    'conv2': (0.01, 1200, 0.1),
    'conv3': (0.01, 2304, 0.0),
    'conv4': (0.01, 1728, 0.1),
    'conv5': (0.01, 1728, 0.1),
    'fc6': (0.005, 9216, 0.1),
    'fc7': (0.005, 4096, 0.1),
    'fc8': (0.01, 4096, 0.0),
}


def initial(layer: str, how: Initial) -> dict[str, Any]:
    """Returns `kernel_init` and `bias_init` of a layer ('conv1' ... 'fc8') that no weights are
    imported into.

    'caffe': normal weights of the published deviations, made for 90 epochs of ImageNet. A narrower
    network's are divided by sqrt(inputs / inputs of the whole network), so that its signals have
    the same size. 'he' (He et al. 2015): signals of unit variance from images of deviation 58, for
    short trainings.
    """
    deviation, inputs, bias = _CAFFE[layer]
    if how == 'caffe':
        kernel = nn.initializers.variance_scaling(deviation**2 * inputs, 'fan_in', 'normal')
        return {'kernel_init': kernel, 'bias_init': nn.initializers.constant(bias)}
    if how != 'he':
        raise ValueError(f"the initial weights are '{how}'; expected 'caffe' or 'he'")
    scale = {'conv1': 2 / 58**2, 'fc8': 0.01}.get(layer, 2.0)
    return {
        'kernel_init': nn.initializers.variance_scaling(scale, 'fan_in', 'normal'),
        'bias_init': nn.initializers.zeros_init(),
    }


def local_response_norm(
    x: Maps, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Maps:
    """Computes x / (k + alpha / size * sum of squares over `size` neighbouring channels)^beta.

    Channels beyond the ends count as zeros (paper, Sec. 3.3, with Caffe's alpha / size).
    """
    channels = x.shape[-1]
    squares = jnp.pad(x * x, ((0, 0), (0, 0), (0, 0), (size // 2, (size - 1) // 2)))
    total = sum(squares[..., offset : offset + channels] for offset in range(size))
    return x * (k + alpha / size * total) ** -beta


def max_pool_ceil(x: Maps, *, size: int = 3, stride: int = 2) -> Maps:
    """Takes maxima over windows, of which the last may hang over the edge.

    The map has ceil((h - size) / stride) + 1 rows, as in Caffe and PyTorch's `ceil_mode`.
    """

    if min(x.shape[1:3]) < size - 1:
        raise ValueError(
            f'a map of {x.shape[1]}x{x.shape[2]} is too small to be pooled by {size}x{size}; use'
            ' larger images, or a smaller first_stride'
        )

    def hang(length: int) -> tuple[int, int]:
        windows = math.ceil((length - size) / stride) + 1
        windows -= (windows - 1) * stride >= length
        return 0, max(0, (windows - 1) * stride + size - length)

    return max_pool(x, size=size, stride=stride, pads=(hang(x.shape[1]), hang(x.shape[2])))


class AlexNetStem(nn.Module):
    """conv1 and conv2: 224x224 images to the 13x13x256 map after pool2.

    Attributes:
      widths: channels of conv1 and conv2.
      first_stride: of conv1; 2 gives images of half the size the grid of whole ones.
      pool_first: pooling before local response normalisation, as CaffeNet.
      initial: see `initial`.
    """

    widths: tuple[int, int] = (96, 256)
    first_stride: int = 4
    pool_first: bool = False
    initial: Initial = 'caffe'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Maps) -> Maps:
        first, second = (
            {'use_bias': True, 'dtype': self.dtype, 'name': name, **initial(name, self.initial)}
            for name in ('conv1', 'conv2')
        )
        x = nn.relu(Conv(self.widths[0], 11, self.first_stride, 0, **first)(images))
        x = self._smaller(x)
        x = nn.relu(Conv(self.widths[1], 5, 1, 2, groups=2, **second)(x))
        return self._smaller(x).astype(jnp.float32)

    def _smaller(self, x: Maps) -> Maps:
        if self.pool_first:
            return local_response_norm(max_pool_ceil(x))
        return max_pool_ceil(local_response_norm(x))


class AlexNetTrunk(nn.Module):
    """conv3 to pool5: a 13x13 map of any number of channels to 6x6x256.

    `widths` are the channels of conv3 to conv5; of two, those of conv4 and conv5, and the map is
    conv3's after its ReLU.
    """

    widths: tuple[int, ...] = (384, 384, 256)
    initial: Initial = 'caffe'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        for name, width in zip(
            ('conv3', 'conv4', 'conv5')[-len(self.widths) :], self.widths, strict=True
        ):
            groups = 1 if name == 'conv3' else 2
            x = nn.relu(
                Conv(
                    width,
                    3,
                    1,
                    1,
                    groups=groups,
                    use_bias=True,
                    dtype=self.dtype,
                    name=name,
                    **initial(name, self.initial),
                )(x)
            )
        return max_pool_ceil(x).astype(jnp.float32)


class AlexNetDense(nn.Module):
    """fc6 with ReLU, dropout, and fc7: a map to fc7's responses before their ReLU [b, width].

    Dropout is on where the caller gives the random stream 'dropout'; the ReLU and the dropout after
    fc7 are the caller's.
    """

    width: int = 4096
    rate: float = 0.5
    initial: Initial = 'caffe'

    @nn.compact
    def __call__(self, x: Maps) -> Float[Array, 'b d']:
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.width, name='fc6', **initial('fc6', self.initial))(x))
        x = nn.Dropout(self.rate, deterministic=not self.has_rng('dropout'))(x)
        return nn.Dense(self.width, name='fc7', **initial('fc7', self.initial))(x)


class AlexNet(nn.Module):
    """The convolutional part: images [b, 224, 224, 3], RGB minus the mean, to the map after pool5
    [b, 6, 6, 256]. It has no batch statistics.

    `last_stride` is there for the contract of the backbones and must be 1: the network has no
    strided last stage.

    Attributes:
      widths: channels of conv1 to conv5, even numbers.
      first_stride: of conv1; 2 for images of half the size.
      pool_first: True for CaffeNet's order, pooling before local response normalisation.
      initial: random start without weights from a file, 'caffe' or 'he' (`initial`).
    """

    widths: tuple[int, ...] = (96, 256, 384, 384, 256)
    first_stride: int = 4
    pool_first: bool = False
    initial: Initial = 'caffe'
    last_stride: int = 1
    dtype: Any = jnp.float32
    remat: bool = False

    @property
    def features(self) -> int:
        """Returns the channels of the feature map."""
        return self.widths[-1]

    def setup(self) -> None:
        if self.last_stride != 1:
            raise ValueError(
                f'last_stride is {self.last_stride}; AlexNet has no strided last stage, so it must'
                ' be 1 (--config.model.options.last_stride=1)'
            )
        if len(self.widths) != 5 or any(width % 2 for width in self.widths):
            raise ValueError(
                f'widths are {self.widths}; expected five even numbers, the channels of conv1 to'
                ' conv5'
            )
        self.stem = AlexNetStem(
            self.widths[:2], self.first_stride, self.pool_first, self.initial, self.dtype
        )
        self.trunk = AlexNetTrunk(self.widths[2:], self.initial, self.dtype)

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the feature map, float32."""
        return self.stage4(self.stem_to_stage3(images, train), train)

    def stem_to_stage3(self, images: Maps, train: bool = False) -> Maps:
        """Computes the map after pool2 and its normalisation, in either order."""
        return block(self, lambda network, y: network.stem(y), images, train)

    def stage4(self, x: Maps, train: bool = False) -> Maps:
        """Applies conv3 to pool5 to the map after pool2."""
        return block(self, lambda network, y: network.trunk(y), x, train)


def alexnet(**options: Any) -> AlexNet:
    """Builds Caffe's AlexNet, 256 features."""
    return AlexNet(pool_first=False, **options)


def caffenet(**options: Any) -> AlexNet:
    """Builds Caffe's reference network, 256 features: AlexNet with pooling before normalisation."""
    return AlexNet(pool_first=True, **options)
