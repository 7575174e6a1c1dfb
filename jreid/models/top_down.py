"""Top-down attention: from a pooled feature back to weights of a map's positions and channels
(Pu et al. 2019, DIEN, section III-D).
"""

import math

import flax.linen as nn
from jaxtyping import Array, Float

from jreid.models.transposed import TransposedConvolution


class TopDownAttention(nn.Module):
    """A feature [b, d] to the spatial weights [b, h, w] and the channel weights [b, c] of a map,
    all in (0, 1).

    Spatial: three transposed convolutions from 1x1 to a quarter, a half and the whole of the map
    (rounded up, cut at the end), and a sigmoid. Channels: two 1x1 convolutions, which on a 1x1 map
    are dense layers, and a sigmoid. `width` is the number of hidden channels; the second transposed
    convolution gives half.

    Source: Pu et al. 2019, section III-D.
    Differs from the paper: it does not name kernels, widths or activations in between. Here kernels
    are 4x4 with stride 2 (the first covers its whole output), with ReLU in between.
    """

    width: int = 256

    @nn.compact
    def __call__(
        self, features: Float[Array, 'b d'], shape: tuple[int, int, int]
    ) -> tuple[Float[Array, 'b h w'], Float[Array, 'b c']]:
        height, width, channels = shape
        quarter, half = ((-(-height // n), -(-width // n)) for n in (4, 2))
        x = nn.relu(_grow(features[:, None, None, :], self.width, quarter, 2.0, 'spatial1'))
        x = nn.relu(_grow(x, self.width // 2, half, 2.0, 'spatial2'))
        x = _grow(x, 1, (height, width), 1.0, 'spatial3')
        y = nn.relu(
            nn.Dense(self.width, kernel_init=nn.initializers.he_normal(), name='channel1')(features)
        )
        y = nn.Dense(channels, name='channel2')(y)
        return nn.sigmoid(x[..., 0]), nn.sigmoid(y)


def _grow(
    x: Float[Array, 'b i j c'], width: int, size: tuple[int, int], gain: float, name: str
) -> Float[Array, 'b h w d']:
    """Applies a transposed convolution up to `size`.

    From a single position the kernel has that size, else 4x4. A side that is as long already keeps
    its length.
    """
    if x.shape[1:3] == (1, 1):
        kernel = strides = size
    else:
        kernel, strides = (
            (4, 4),
            (1 if size[0] == x.shape[1] else 2, 1 if size[1] == x.shape[2] else 2),
        )
    # A place of the output gets one in (product of the strides) of the kernel's taps: without the
    # factor the signal would fade from layer to layer.
    initial = nn.initializers.variance_scaling(gain * math.prod(strides), 'fan_in', 'normal')
    padding = 'VALID' if kernel == strides else 'SAME'
    return TransposedConvolution(width, kernel, strides, padding, kernel_init=initial, name=name)(
        x
    )[:, : size[0], : size[1]]
