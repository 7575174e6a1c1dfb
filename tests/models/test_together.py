"""Repetitions whose transpose is one reduction, under JAX's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads as assert_derivatives

from jreid.models.together import repeat_together


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_arrays_are_repeated_and_their_cotangents_summed_in_one_reduction():
    arrays = [normal(i, 3, 4) for i in range(3)]
    out, pull = jax.vjp(lambda *xs: repeat_together(xs, 5), *arrays)
    for x, y in zip(arrays, out, strict=True):
        np.testing.assert_array_equal(y, np.stack([x] * 5))
    cotangents = [normal(9 + i, 5, 3, 4) for i in range(3)]
    for x, y in zip(cotangents, pull(cotangents), strict=True):
        np.testing.assert_allclose(y, x.sum(0), rtol=1e-5, atol=1e-6)
    text = jax.jit(pull).lower(cotangents).as_text()
    assert text.count('stablehlo.reduce(') == 1


def test_a_result_that_nobody_reads_has_no_cotangent():
    x, y = normal(0, 2, 3), normal(1, 2, 3)
    used, unused = jax.grad(
        lambda x, y: jnp.sum(jnp.sin(repeat_together((x, y), 4)[0])), argnums=(0, 1)
    )(x, y)
    np.testing.assert_allclose(used, 4 * np.cos(x), rtol=1e-5)
    np.testing.assert_array_equal(unused, np.zeros_like(y))


def test_derivatives_of_both_modes_and_two_orders():
    x, y = normal(0, 2, 3), normal(1, 2, 3)

    def both(x, y):
        a, b = repeat_together((x, y), 3)
        return jnp.sum(jnp.sin(a) * b * jnp.arange(3.0)[:, None, None])

    assert_derivatives(both, (x, y), order=2, modes=['fwd', 'rev'], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize('axes', [(0, 0), (0, None), (None, 1), (2, 0)])
def test_vectorised_it_gives_each_row_its_own(axes):
    x, y = (
        normal(i, 2, 3) if axis is None else np.moveaxis(normal(i, 5, 2, 3), 0, axis)
        for i, axis in enumerate(axes)
    )

    def one(x, y):
        (a, b), pull = jax.vjp(lambda x, y: tuple(repeat_together((x, y), 4)), x, y)
        return a, b, *pull((jnp.sin(a), a * b))

    def of(value, axis, i):
        return value if axis is None else np.moveaxis(value, axis, 0)[i]

    for i in range(5):
        expected = one(of(x, axes[0], i), of(y, axes[1], i))
        for got, wanted in zip(jax.vmap(one, in_axes=axes)(x, y), expected, strict=True):
            np.testing.assert_allclose(got[i], wanted, rtol=1e-6, atol=1e-6)
