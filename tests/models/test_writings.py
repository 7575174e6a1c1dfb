"""The writings for XLA's CPU beside its own operations: values, all derivatives, platforms."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads as assert_derivatives

from jreid.models import writings
from jreid.models.convolution import resolve_padding


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def convolve(x, kernel, stride, pads):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=x.shape[-1] // kernel.shape[-2],
    )


CASES = [
    *(
        ('depthwise', (batch, *size, 3), (k, k, 1, 3), stride, padding)
        for batch in (1, 6)
        for k, stride, size, padding in [
            (3, 1, (8, 4), 'SAME'),
            (3, 2, (7, 9), 'SAME'),
            (5, 2, (8, 6), 'SAME'),
            (5, 1, (4, 2), 2),
            (3, 2, (9, 8), 0),
            (3, 3, (5, 3), 1),
        ]
    ),
    ('pointwise', (2, 5, 3, 4), (1, 1, 4, 6), 1, 0),
    ('pointwise_turned', (3, 5, 4, 9), (1, 1, 9, 4), 1, 0),
    ('pointwise_turned', (3, 5, 4, 4), (1, 1, 4, 9), 2, 0),
    ('convolve_unrolled', (2, 6, 4, 5), (3, 3, 5, 7), 1, 1),
    ('convolve_unrolled', (2, 7, 8, 5), (3, 3, 5, 7), 2, 1),
    ('convolve_unrolled', (2, 8, 5, 5), (3, 3, 5, 7), 2, 'SAME'),
    ('convolve_groups', (2, 6, 5, 4), (3, 3, 2, 6), 2, 1),
]


@pytest.mark.parametrize(('name', 'images', 'kernel', 'stride', 'padding'), CASES)
def test_values_and_derivatives_are_the_convolutions(name, images, kernel, stride, padding):
    x, w = normal(0, *images), normal(1, *kernel)
    pads = resolve_padding(padding, size=images[1:3], kernel=kernel[:2], stride=stride)
    operation = getattr(writings, name)

    @jax.jit
    def compared(x, w, tangents, cotangent):
        def derivatives(function):
            out, pull = jax.vjp(function, x, w)
            return out, pull(cotangent), jax.jvp(function, (x, w), tangents)[1]

        return derivatives(lambda x, w: operation(x, w, stride, pads, 'shifted')), derivatives(
            lambda x, w: convolve(x, w, stride, pads)
        )

    out = jax.eval_shape(lambda x, w: convolve(x, w, stride, pads), x, w)
    found, expected = compared(
        x, w, (normal(2, *images), normal(3, *kernel)), normal(4, *out.shape)
    )
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=3e-5, rtol=1e-5),
        found,
        expected,
    )


@pytest.mark.parametrize(
    ('name', 'channels', 'kernel'),
    [
        ('depthwise', 2, (3, 3, 1, 2)),
        pytest.param('pointwise_turned', 3, (1, 1, 3, 2), marks=pytest.mark.slow),
        pytest.param('convolve_unrolled', 2, (3, 3, 2, 3), marks=pytest.mark.slow),
        pytest.param('convolve_groups', 4, (3, 3, 2, 2), marks=pytest.mark.slow),
    ],
)
def test_first_and_second_derivatives_are_those_of_finite_differences(name, channels, kernel):
    pads = resolve_padding(kernel[0] // 2, size=(3, 4), kernel=kernel[:2], stride=2)
    operation = getattr(writings, name)
    with jax.enable_x64(True):
        x, w = np.float64(normal(0, 2, 3, 4, channels)), np.float64(normal(1, *kernel))
        assert_derivatives(
            jax.jit(lambda x, w: jnp.sin(operation(x, w, 2, pads))),
            (x, w),
            order=2,
            modes=['fwd', 'rev'],
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.mark.parametrize('which', ['images', 'kernel'])
def test_what_is_not_differentiated_costs_no_tangent(which):
    """A frozen kernel, or the first layer's images: nothing is multiplied with zeros."""
    pads = ((1, 1), (1, 1))
    x, w = normal(0, 2, 4, 4, 3), normal(1, 3, 3, 3, 2)

    def operation(part):
        pair = (part, w) if which == 'images' else (x, part)
        return writings.convolve_unrolled(*pair, 1, pads, 'grouped')

    part = x if which == 'images' else w
    text = str(jax.make_jaxpr(lambda t: jax.jvp(operation, (part,), (t,)))(part))
    assert text.count('conv_general_dilated[') == 2


def test_backward_pass_keeps_the_factors_alone():
    x, w = normal(0, 8, 6, 5, 3), normal(1, 3, 3, 1, 3)
    pads = ((1, 1), (1, 1))
    residuals = jax.eval_shape(
        lambda x, w: jax.vjp(lambda x, w: writings.depthwise(x, w, 1, pads), x, w)[1], x, w
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(residuals)) <= x.size + 2 * w.size


@pytest.mark.parametrize(
    ('name', 'kernel', 'channels', 'in_shifted', 'in_grouped'),
    [
        ('depthwise', (3, 3, 1, 32), 32, 0, 3),
        ('convolve_groups', (3, 3, 16, 32), 32, 6, 3),
        ('convolve_unrolled', (3, 3, 8, 4), 8, 2, 3),
    ],
)
def test_writing_is_chosen_for_the_platform_and_not_for_this_machine(
    name, kernel, channels, in_shifted, in_grouped
):
    """Counts XLA's convolutions in a value with both gradients: value, images', kernel's."""
    operation, pads = getattr(writings, name), ((1, 1), (1, 1))
    x, w = normal(0, 2, 6, 4, channels), normal(1, *kernel)

    def count(platform, writing):
        gradient = jax.value_and_grad(
            lambda x, w: jnp.sum(jnp.sin(operation(x, w, 1, pads, writing))), argnums=(0, 1)
        )
        lowered = jax.jit(gradient).trace(x, w).lower(lowering_platforms=(platform,))
        return lowered.as_text().count('stablehlo.convolution')

    for platform in ('cpu', 'cuda', 'tpu'):
        assert count(platform, 'auto') == (in_shifted if platform == 'cpu' else in_grouped)
        assert count(platform, 'shifted') == in_shifted
        assert count(platform, 'grouped') == in_grouped


@pytest.mark.parametrize('batch', [1, 2, 3, 7, 11, 12, 32])
def test_depthwise_kernel_gradient_of_any_number_of_images(batch):
    x, w, ct = normal(0, batch, 5, 4, 6), normal(1, 3, 3, 1, 6), normal(2, batch, 5, 4, 6)
    pads = ((1, 1), (1, 1))
    expected = jax.vjp(lambda w: convolve(x, w, 1, pads), w)[1](ct)[0]
    given = jax.vjp(lambda w: writings.depthwise(x, w, 1, pads, 'shifted'), w)[1](ct)[0]
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('k', [3, 5])
def test_depthwise_kernel_gradient_takes_one_pass_for_each_row_of_the_kernel(k):
    x, w = normal(0, 16, 16, 8, 32), normal(1, k, k, 1, 32)
    pads = ((k // 2, k // 2),) * 2

    def gradient(x, w, ct):
        return jax.vjp(lambda w: writings.depthwise(x, w, 1, pads, 'shifted'), w)[1](ct)[0]

    program = jax.jit(gradient).lower(x, w, x).compile().as_text()
    results = re.findall(r'= \((f32\[[^=]*)\) fusion\(', program)
    assert [found.count('f32[') for found in results] == [k] * k
