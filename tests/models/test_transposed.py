"""Transposed convolution against flax's own, values and derivatives."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.transposed import TransposedConvolution


@pytest.mark.parametrize(
    ('size', 'kernel', 'strides', 'padding'),
    [
        ((8, 4), (3, 3), (2, 2), 'SAME'),
        ((5, 3), (4, 4), (2, 2), 'SAME'),
        ((5, 3), (4, 4), (2, 1), 'SAME'),
        ((4, 4), (2, 2), (3, 2), 'SAME'),
        ((1, 1), (4, 2), (4, 2), 'VALID'),
        ((3, 5), (3, 2), (2, 2), 'VALID'),
        ((3, 2), (5, 4), (2, 3), 'VALID'),
    ],
)
def test_numbers_and_derivatives_are_those_of_flax(size, kernel, strides, padding):
    ours, theirs = (
        TransposedConvolution(6, kernel, strides, padding),
        nn.ConvTranspose(6, kernel, strides, padding),
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    shapes, same = (jax.eval_shape(m.init, jax.random.key(1), x) for m in (theirs, ours))
    assert shapes == same
    variables = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(s.dtype), shapes)
    out = jax.eval_shape(theirs.apply, variables, x)
    weights = rng.normal(size=out.shape).astype(np.float32)

    @jax.jit
    def both(variables, x):
        def derivatives(module):
            out, pull = jax.vjp(module.apply, variables, x)
            pushed = jax.jvp(module.apply, (variables, x), (variables, jnp.sin(x)))[1]
            return out, pull(weights * jnp.cos(out)), pushed

        return derivatives(ours), derivatives(theirs)

    found, expected = both(variables, x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected
    )


def test_same_start_as_flax_for_a_key():
    x = jnp.ones((1, 4, 2, 3))
    module = TransposedConvolution(5, (3, 3), (2, 2), use_bias=False)
    modules = (module, nn.ConvTranspose(5, (3, 3), (2, 2), use_bias=False))
    found, expected = jax.jit(lambda: [m.init(jax.random.key(3), x)['params'] for m in modules])()
    np.testing.assert_array_equal(found['kernel'], expected['kernel'])
    assert set(found) == {'kernel'}
