"""Convolutions with PyTorch's and TensorFlow's padding, and the writings of them that XLA runs
fast on a CPU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Padding = int | Literal['SAME']
Pads = tuple[tuple[int, int], tuple[int, int]]
Writing = Literal['auto', 'grouped', 'shifted']

he_normal = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def resolve_padding(
    padding: Padding, *, size: Sequence[int], kernel: Sequence[int], stride: int
) -> Pads:
    """Zeros (before, after) on the height and the width: an int is PyTorch's symmetric padding,
    'SAME' is TensorFlow's, which puts an odd zero at the end.
    """
    if padding == 'SAME':
        pads = lax.padtype_to_pads(tuple(size), tuple(kernel), (stride, stride), 'SAME')
        return (pads[0], pads[1])
    return ((int(padding), int(padding)), (int(padding), int(padding)))


def pointwise(
    images: Float[Array, 'b h w c'], kernel: Float[Array, '1 1 c d'], *, turned: bool = False
) -> Float[Array, 'b h w d']:
    """1x1 convolution as one matrix product over all pixels: 2 to 13 times faster than the
    convolution, forward and backward, on XLA's CPU.

    `turned` computes the kernel's gradient as `_turned_product` where that has more rows than
    columns.
    """
    b, h, w, c = images.shape
    product = _product if turned and c > kernel.shape[-1] else jnp.matmul
    return product(images.reshape(b * h * w, c), kernel[0, 0]).reshape(b, h, w, -1)


def _turned_product(left: Float[Array, 'n c'], right: Float[Array, 'n d']) -> Float[Array, 'c d']:
    """left^T right as (right^T left)^T.

    XLA's CPU packs the left factor's transpose; with d < c there is less of it: 1.3 to 2.6 times
    faster in ResNet-50. Without the barrier XLA turns the product back.
    """
    return lax.optimization_barrier(lax.optimization_barrier(right.T @ left).T)


@jax.custom_vjp
def _product(rows: Float[Array, 'n c'], matrix: Float[Array, 'c d']) -> Float[Array, 'n d']:
    """rows @ matrix, with the matrix's gradient turned."""
    return rows @ matrix


def _product_forward(rows: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    return rows @ matrix, (rows, matrix)


def _product_backward(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    rows, matrix = residuals
    return cotangent @ matrix.T, _turned_product(rows, cotangent)


_product.defvjp(_product_forward, _product_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_unrolled(
    images: Float[Array, 'b h w c'], kernel: Float[Array, 'k l c d'], stride: int, pads: Pads
) -> Float[Array, 'b i j d']:
    """Convolution whose kernel gradient is one matrix product of the k*l shifted images side by
    side, k*l times the images' memory, with the cotangent.

    On XLA's CPU 1.1 to 1.9 times faster than the gradient as a convolution for ResNet-50's 3x3
    kernels of 128 channels and more, slower for fewer.
    """
    return convolve(images, kernel, stride, pads)


def _unrolled_forward(
    images: Array, kernel: Array, stride: int, pads: Pads
) -> tuple[Array, tuple[Array, Array]]:
    return convolve(images, kernel, stride, pads), (images, kernel)


def _unrolled_backward(
    stride: int, pads: Pads, residuals: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    images, kernel = residuals
    _, pull = jax.vjp(lambda x: convolve(x, kernel, stride, pads), images)
    patches = jnp.concatenate(
        taps(images, (kernel.shape[0], kernel.shape[1]), stride, pads), axis=-1
    )
    product = _turned_product(
        patches.reshape(-1, patches.shape[-1]), cotangent.reshape(-1, cotangent.shape[-1])
    )
    return pull(cotangent)[0], product.reshape(kernel.shape)


convolve_unrolled.defvjp(_unrolled_forward, _unrolled_backward)


def taps(
    images: Float[Array, 'b h w c'],
    size: tuple[int, int],
    stride: int,
    pads: Pads,
    *,
    fill: float = 0.0,
) -> list[Float[Array, 'b i j c']]:
    """The shifted (and strided) views of the images padded with `fill`, one a position of a
    kernel of `size`, row-major as the kernel.
    """
    padded = jnp.pad(images, ((0, 0), pads[0], pads[1], (0, 0)), constant_values=fill)
    b, h, w, c = padded.shape
    out_h, out_w = (h - size[0]) // stride + 1, (w - size[1]) // stride + 1
    span_h, span_w = (out_h - 1) * stride + 1, (out_w - 1) * stride + 1
    return [
        lax.slice(padded, (0, i, j, 0), (b, i + span_h, j + span_w, c), (1, stride, stride, 1))
        for i in range(size[0])
        for j in range(size[1])
    ]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_shifted(
    images: Float[Array, 'b h w c'], kernel: Float[Array, 'k k 1 c'], stride: int, pads: Pads
) -> Float[Array, 'b i j c']:
    """Depthwise convolution as a sum of k*k shifted images times per-channel weights, with a
    backward pass of the same kind.

    XLA's CPU has no fast grouped convolution: at 128x64 and batch 32 this writing is 10 to 70 times
    faster forward. k*k plain reductions would take most of the backward pass, hence
    `_kernel_gradient`.
    """
    k = kernel.shape[0]
    weights = kernel.reshape(k * k, -1)
    views = taps(images, (k, k), stride, pads)
    total = views[0] * weights[0]
    for tap, weight in zip(views[1:], weights[1:], strict=True):
        total = total + tap * weight
    return total


def _depthwise_forward(
    images: Array, kernel: Array, stride: int, pads: Pads
) -> tuple[Array, tuple[Array, Array]]:
    return depthwise_shifted(images, kernel, stride, pads), (images, kernel)


def _depthwise_backward(
    stride: int, pads: Pads, residuals: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    images, kernel = residuals
    kernel_gradient = (
        _kernel_gradient(images, cotangent, kernel.shape[0], stride, pads)
        .reshape(kernel.shape)
        .astype(kernel.dtype)
    )
    return (
        gather(
            lambda m, n, part: part * kernel[m, n, 0],
            (cotangent,),
            images.shape,
            kernel.shape[0],
            stride,
            pads,
        ),
        kernel_gradient,
    )


def _kernel_gradient(
    images: Array, cotangent: Array, k: int, stride: int, pads: Pads
) -> Float[Array, 'k*k c']:
    """Sums over all pixels of tap times cotangent: first a chain of multiply-adds over groups of
    images, which XLA's CPU runs as vectors, then the rest.
    """
    images, cotangent = images.astype(jnp.float32), cotangent.astype(jnp.float32)
    batch, channels = images.shape[0], images.shape[-1]
    groups = next(g for g in (8, 7, 6, 5, 4, 3, 2, 1) if batch % g == 0)
    size = batch // groups
    rows = [slice(group * size, (group + 1) * size) for group in range(groups)]
    sums = [
        sum((tap[r] * cotangent[r] for r in rows[1:]), start=tap[rows[0]] * cotangent[rows[0]])
        for tap in taps(images, (k, k), stride, pads)
    ]
    return jnp.sum(jnp.stack(sums).reshape(k * k, -1, channels), axis=1)


def gather(
    term: Callable[..., Array],
    outputs: tuple[Array, ...],
    shape: tuple[int, ...],
    k: int,
    stride: int,
    pads: Pads,
) -> Array:
    """The gradient on images of `shape` from what their `taps` (m, n) got: every pixel's sum of
    term(m, n, *outputs at the windows that it is tap (m, n) of).

    Computed a phase (row and column modulo the stride) at a time, so that it too is a sum of plain
    shifted slices. Beyond the edge the outputs are 0, and so must be the term.
    """
    b, h, w, c = shape
    reach = (k - 1) // stride
    wide = [jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0))) for x in outputs]
    out_h, out_w = outputs[0].shape[1] + reach, outputs[0].shape[2] + reach
    rows = []
    for i in range(stride):
        columns = []
        for j in range(stride):
            total = jnp.zeros((b, out_h, out_w, c), outputs[0].dtype)
            for m in range(i, k, stride):
                for n in range(j, k, stride):
                    up, left = reach - m // stride, reach - n // stride
                    total = total + term(
                        m,
                        n,
                        *(
                            lax.slice(x, (0, up, left, 0), (b, up + out_h, left + out_w, c))
                            for x in wide
                        ),
                    )
            columns.append(total)
        rows.append(jnp.stack(columns, axis=3))
    padded = jnp.stack(rows, axis=2).reshape(b, out_h * stride, out_w * stride, c)
    top, left = pads[0][0], pads[1][0]
    short_h, short_w = max(0, top + h - padded.shape[1]), max(0, left + w - padded.shape[2])
    if short_h or short_w:
        padded = jnp.pad(padded, ((0, 0), (0, short_h), (0, short_w), (0, 0)))
    return lax.slice(padded, (0, top, left, 0), (b, top + h, left + w, c))


depthwise_shifted.defvjp(_depthwise_forward, _depthwise_backward)


def convolve(
    images: Float[Array, 'b h w c'],
    kernel: Float[Array, 'k l m d'],
    stride: int,
    pads: Pads,
    *,
    groups: int = 1,
) -> Float[Array, 'b i j d']:
    """XLA's own convolution."""
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=groups,
    )


class Conv(nn.Module):
    """2-D convolution, float32 parameters `kernel` [k, k, c / groups, d] and `bias` [d], computed
    in `dtype`.

    `padding` is an int (PyTorch) or 'SAME' (TensorFlow). `writing` chooses how a depthwise
    convolution is computed: 'grouped' (a grouped convolution), 'shifted' (`depthwise_shifted`), or
    'auto' (shifted on a CPU, grouped elsewhere); 'shifted' also splits other groups into single
    convolutions and writes float32 kernel gradients as `_turned_product`. The results agree to
    rounding.
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
        images, kernel = images.astype(self.dtype), kernel.astype(self.dtype)
        pads = resolve_padding(
            self.padding, size=images.shape[1:3], kernel=(k, k), stride=self.stride
        )
        if k == 1 and self.groups == 1 and not any(map(any, pads)):
            out = pointwise(images[:, :: self.stride, :: self.stride], kernel, turned=self._turns())
        elif self.groups == channels == self.features and self._shifts():
            out = depthwise_shifted(images, kernel, self.stride, pads)
        elif self.groups > 1 and self.groups != channels and self._shifts():
            # XLA's CPU runs a grouped convolution far below the speed of its parts.
            parts = zip(
                jnp.split(images, self.groups, axis=-1),
                jnp.split(kernel, self.groups, axis=-1),
                strict=True,
            )
            out = jnp.concatenate(
                [convolve(part, weights, self.stride, pads) for part, weights in parts], axis=-1
            )
        elif k == 3 and self.groups == 1 and min(channels, self.features) >= 128 and self._turns():
            out = convolve_unrolled(images, kernel, self.stride, pads)
        else:
            out = convolve(images, kernel, self.stride, pads, groups=self.groups)
        if self.use_bias:
            out = out + self.param('bias', self.bias_init, (self.features,), jnp.float32).astype(
                self.dtype
            )
        return out

    def _shifts(self) -> bool:
        return self.writing == 'shifted' or (
            self.writing == 'auto' and jax.default_backend() == 'cpu'
        )

    def _turns(self) -> bool:
        return self._shifts() and self.dtype == jnp.float32
