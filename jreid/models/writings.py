"""Convolutions in the writings that XLA's CPU runs fast, differentiable forward and backward.

JAX derives a backward pass by transposing the tangent of an operation. The tangents here are
therefore written so that their transposes are the fast backward passes. A convolution is linear in
its images and in its kernel, so `bilinear` takes one function for the value and one per tangent.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jreid.models.together import repeat_together

Pads = tuple[tuple[int, int], tuple[int, int]]
Writing = Literal['auto', 'grouped', 'shifted']
Convolution = Callable[[Array, Array, int, Pads], Array]
"""(images [b, h, w, c], kernel [k, l, c / groups, d], stride, pads) -> images [b, i, j, d]."""


@functools.cache
def _with_statics(function: Callable[..., Array], *statics: Any) -> Callable[..., Array]:
    """Returns the function of the operands alone, one object per function and statics.

    JAX caches traces by the function's identity.
    """
    return lambda *operands: function(*operands, *statics)


def by_platform(
    cpu: Callable[..., Array], default: Callable[..., Array], operands: Any, statics: Any
) -> Array:
    """Applies `cpu` or `default`, depending on the platform that the call is lowered for."""
    if cpu is default:
        return default(*operands, *statics)
    return lax.platform_dependent(
        *operands, cpu=_with_statics(cpu, *statics), default=_with_statics(default, *statics)
    )


def perturbed(tangent: Any) -> Any:
    """Returns the tangent, or None where it is known to be zero."""
    return None if isinstance(tangent, SymbolicZero) else tangent


def _total(terms: Iterable[Array]) -> Array:
    return functools.reduce(jnp.add, terms)


def _weights(kernel: Float[Array, 'k k 1 c']) -> Sequence[Float[Array, '1 c']]:
    return lax.split(kernel.reshape(-1, kernel.shape[-1]), (1,) * kernel.shape[0] ** 2)


def bilinear(
    plain: Convolution,
    *,
    value: Convolution | None = None,
    by_images: Convolution | None = None,
    by_kernel: Convolution | None = None,
) -> Callable[..., Array]:
    """Returns operation(images, kernel, stride, pads, writing='auto') of functions that are equal.

    'grouped' computes `plain` everywhere. 'shifted' computes the value with `value` and the
    tangents with `by_images` and `by_kernel`, where given. 'auto' is 'shifted' on a CPU and
    'grouped' elsewhere.
    """

    def apply(images, kernel, fast, stride, pads, writing):
        cpu = plain if writing == 'grouped' or fast is None else fast
        default = cpu if writing == 'shifted' else plain
        return by_platform(cpu, default, (images, kernel), (stride, pads))

    # The backward pass keeps the images and the kernel, not what the writings make of them.
    tangent = jax.checkpoint(apply, prevent_cse=False, static_argnums=(2, 3, 4, 5))

    @partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
    def operation(
        images: Array, kernel: Array, stride: int, pads: Pads, writing: Writing = 'auto'
    ) -> Array:
        return apply(images, kernel, value, stride, pads, writing)

    @partial(operation.defjvp, symbolic_zeros=True)
    def jvp(stride, pads, writing, primals, tangents):
        images, kernel = primals
        images_dot, kernel_dot = map(perturbed, tangents)
        statics = (stride, pads, writing)
        terms = []
        if images_dot is not None:
            terms.append(tangent(images_dot, kernel, by_images, *statics))
        if kernel_dot is not None:
            terms.append(tangent(images, kernel_dot, by_kernel, *statics))
        return operation(images, kernel, *statics), _total(terms)

    return operation


def convolve(
    images: Float[Array, 'b h w c'], kernel: Float[Array, 'k l m d'], stride: int, pads: Pads
) -> Float[Array, 'b i j d']:
    """Computes XLA's own convolution, in c / m groups."""
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=images.shape[-1] // kernel.shape[-2],
    )


def _convolve_groups(images: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    groups = images.shape[-1] // kernel.shape[-2]
    parts = zip(jnp.split(images, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([convolve(part, own, stride, pads) for part, own in parts], axis=-1)


def _multiply(
    images: Array,
    kernel: Array,
    stride: int,
    pads: Pads,
    product: Callable[..., Array] = jnp.matmul,
) -> Array:
    images = images[:, ::stride, ::stride]
    b, h, w, c = images.shape
    return product(images.reshape(b * h * w, c), kernel[0, 0]).reshape(b, h, w, -1)


def _multiply_turned(images: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    return _multiply(images, kernel, stride, pads, _turned_product)


def _turned_product(rows: Float[Array, 'n c'], matrix: Float[Array, 'c d']) -> Float[Array, 'n d']:
    """Computes rows @ matrix such that the matrix's cotangent is (cotangent^T rows)^T.

    XLA's CPU packs the left factor's transpose; with d < c there is less of it: 1.3 to 2.6 times
    faster in ResNet-50. Without the barriers XLA turns the product back.
    """
    turned = lax.optimization_barrier(lax.optimization_barrier(matrix).T)
    return lax.dot_general(rows, turned, (((1,), (1,)), ((), ())))


def _multiply_patches(images: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    k, l, c, d = kernel.shape
    patches = jnp.concatenate(taps(images, (k, l), stride, pads), axis=-1)
    product = _turned_product(patches.reshape(-1, k * l * c), kernel.reshape(-1, d))
    return product.reshape(*patches.shape[:3], d)


def _sum_taps(images: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    k = kernel.shape[0]
    views = taps(images, (k, k), stride, pads)
    return _total(tap * weight for tap, weight in zip(views, _weights(kernel), strict=True))


def _sum_phases(images: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    """Computes `_sum_taps` such that the images' cotangent is a sum of plain slices."""
    k, weights = kernel.shape[0], _weights(kernel)
    return spread(lambda m, n, tap: tap * weights[m * k + n], images, (), k, stride, pads)


def _sum_in_groups(images: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    """Computes `_sum_taps` such that the kernel's cotangent takes few passes over memory.

    The cotangent sums tap times cotangent over all pixels. `chained` groups of images are summed
    first, by chains of multiply-adds, which XLA's CPU runs as vectors, then `reduced` of these
    sums: for all taps of one row of the kernel in one pass, since a row's taps are reduced
    together. Then comes the rest. A plain reduction per tap would take most of the backward pass, a
    chain per tap three times as long, and all rows together are slower, too.
    """
    k, wide = kernel.shape[0], jnp.promote_types(images.dtype, jnp.float32)
    views = taps(images.astype(wide), (k, k), stride, pads)
    b, h, w, c = views[0].shape
    reduced = next((n for n in (2, 3, 5, 7) if b % n == 0), 1)
    chained = next(n for n in (8, 7, 6, 5, 4, 3, 2, 1) if b // reduced % n == 0)
    size = b // reduced // chained
    weights = jnp.broadcast_to(
        kernel.astype(wide).reshape(k * k, 1, c), (k * k, size * h * w, c)
    ).reshape(k * k * size, h, w, c)
    parts = lax.split(weights, (size,) * (k * k))
    terms = []
    for row in range(0, k * k, k):
        for tap, part in zip(
            views[row : row + k], repeat_together(parts[row : row + k], reduced), strict=True
        ):
            part = part.reshape(reduced * size, h, w, c)
            terms.append(tap * lax.concatenate([part] * chained, 0))
    # The barrier is one for the cotangent, too: computed once, not by each row's pass.
    return lax.optimization_barrier(_total(terms).astype(images.dtype))


pointwise = bilinear(_multiply)
"""1x1 convolution without padding as one matrix product over all pixels.

On XLA's CPU this is 2 to 13 times faster than the convolution, forward and backward.
"""

pointwise_turned = bilinear(_multiply, by_kernel=_multiply_turned)
"""`pointwise` for a kernel of more rows than columns: 'shifted' turns its gradient's product."""

convolve_unrolled = bilinear(convolve, by_kernel=_multiply_patches)
"""Convolution whose kernel gradient, where 'shifted', is one matrix product.

Its factors are the k*l shifted images side by side, k*l times the images' memory, and the
cotangent. On XLA's CPU it is 1.1 to 1.9 times faster than the gradient as a convolution for
ResNet-50's 3x3 kernels of 128 channels and more, slower for fewer.
"""

convolve_groups = bilinear(
    convolve, value=_convolve_groups, by_images=_convolve_groups, by_kernel=_convolve_groups
)
"""Grouped convolution, where 'shifted' as one convolution per group.

XLA's CPU runs a grouped convolution far below the speed of its parts.
"""

depthwise = bilinear(convolve, value=_sum_taps, by_images=_sum_phases, by_kernel=_sum_in_groups)
"""Depthwise convolution, where 'shifted' as a sum of k*k shifted images times channel weights.

XLA's CPU has no fast grouped convolution: at 128x64 and batch 32 the sum is 10 to 70 times faster
forward.
"""


def taps(
    images: Float[Array, 'b h w c'],
    size: tuple[int, int],
    stride: int,
    pads: Pads,
    *,
    fill: float = 0.0,
) -> list[Float[Array, 'b i j c']]:
    """Returns the shifted (and strided) views of the images padded with `fill`.

    There is one view per position of a kernel of `size`, row-major as the kernel.
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


def spread(
    term: Callable[..., Array],
    images: Float[Array, 'b h w c'],
    residuals: tuple[Array, ...],
    k: int,
    stride: int,
    pads: Pads,
) -> Float[Array, 'b i j c']:
    """Sums term(m, n, tap, *residuals) over the k*k `taps` (m, n) of the images.

    The sum runs over padded phases of the images (their rows and columns modulo the stride). So the
    transpose gathers a phase's cotangent as a sum of plain shifted slices. XLA's CPU fuses these
    slices, but not the scattered windows that are the transpose of `taps`.

    Args:
      term: linear in the tap. It sees the taps and the residuals with a margin, in which the
        residuals are 0.
      residuals: arrays [b, i, j, c] of the output's size.
    """
    b, h, w, c = images.shape
    reach = (k - 1) // stride
    out_h, out_w = ((n + sum(p) - k) // stride + 1 for n, p in zip((h, w), pads, strict=True))
    rows, columns = out_h + reach, out_w + reach
    (top, _), (left, _) = pads
    bottom, right = rows * stride - top - h, columns * stride - left - w  # negative ones cut off
    zero = np.zeros((), images.dtype)
    padded = lax.pad(
        images,
        zero,
        ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)),
    )
    phases = padded.reshape(b, rows, stride, columns, stride, c)
    wide = [jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0))) for x in residuals]
    terms = []
    for i, band in enumerate(lax.split(phases, (1,) * stride, axis=2)):
        for j, phase in enumerate(lax.split(band, (1,) * stride, axis=4)):
            phase = phase.reshape(b, rows, columns, c)
            for m in range(i, k, stride):
                for n in range(j, k, stride):
                    up, side = m // stride, n // stride
                    margins = ((0, 0, 0), (reach - up, up, 0), (reach - side, side, 0), (0, 0, 0))
                    terms.append(term(m, n, lax.pad(phase, zero, margins), *wide))
    total = _total(terms)
    return total[:, reach : reach + out_h, reach : reach + out_w]
