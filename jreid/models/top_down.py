"""Top-down attention: from a pooled feature back to weights of a map's positions and channels (Pu et al. 2019, DIEN, section III-D)."""

import flax.linen as nn
from jaxtyping import Array, Float

from jreid.models.convolution import he_normal


class TopDownAttention(nn.Module):
    """A feature [b, d] to the spatial weights [b, h, w] and the channel weights [b, c] of a map, all in (0, 1).

    Spatial: three transposed convolutions from 1x1 to a quarter, a half and the whole of the map (rounded up, cut at the end), and a sigmoid. Channels: two 1x1
    convolutions, which on a 1x1 map are dense layers, and a sigmoid. `width` is the number of hidden channels; the second transposed convolution has half.

    Source: Pu et al. 2019, section III-D.
    Differs from the paper: it does not name kernels, widths or activations in between; here kernels are 4x4 with stride 2, the first covers its whole output, ReLU.
    """

    width: int = 256

    @nn.compact
    def __call__(self, features: Float[Array, 'b d'], shape: tuple[int, int, int]) -> tuple[Float[Array, 'b h w'], Float[Array, 'b c']]:
        height, width, channels = shape
        quarter, half = ((-(-height // n), -(-width // n)) for n in (4, 2))
        x = nn.ConvTranspose(self.width, quarter, quarter, 'VALID', kernel_init=he_normal, name='spatial1')(features[:, None, None, :])
        x = _grow(nn.relu(x), self.width // 2, half, 'spatial2')
        x = _grow(nn.relu(x), 1, (height, width), 'spatial3')
        y = nn.relu(nn.Dense(self.width, kernel_init=he_normal, name='channel1')(features))
        y = nn.Dense(channels, name='channel2')(y)
        return nn.sigmoid(x[..., 0]), nn.sigmoid(y)


def _grow(x: Float[Array, 'b i j c'], width: int, size: tuple[int, int], name: str) -> Float[Array, 'b h w d']:
    """A transposed convolution to `size`; a side that is as long already keeps its length."""
    strides = tuple(1 if new == old else 2 for new, old in zip(size, x.shape[1:3], strict=True))
    return nn.ConvTranspose(width, (4, 4), strides, 'SAME', name=name)(x)[:, : size[0], : size[1]]
