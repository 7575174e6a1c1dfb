import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.pooling import average_pool_halving, max_pool

CASES = [
    (3, 2, ((1, 1), (1, 1)), (8, 6)),
    (3, 2, ((1, 1), (1, 1)), (9, 7)),
    (3, 2, ((0, 1), (0, 0)), (8, 7)),
    (2, 2, ((0, 0), (0, 0)), (6, 5)),
    (3, 1, ((1, 1), (1, 1)), (4, 5)),
    (2, 3, ((0, 0), (0, 0)), (8, 7)),
]


@pytest.mark.parametrize(('size', 'stride', 'pads', 'shape'), CASES)
def test_both_writings_agree_with_many_equal_values(size, stride, pads, shape):
    rng = np.random.default_rng(0)
    # ties in most windows; in some, all values are negative
    x = jnp.asarray(rng.integers(-3, 2, (2, *shape, 3)).astype(np.float32))
    draws = rng.standard_normal((2, *shape, 3), dtype=np.float32)

    @jax.jit
    def both(x):
        results = []
        for writing in ('windows', 'shifted'):
            pool = functools.partial(max_pool, size=size, stride=stride, pads=pads, writing=writing)
            found, pull = jax.vjp(pool, x)
            rows, columns = found.shape[1:3]
            results.append((found, pull(draws[:, :rows, :columns])[0]))
        return results

    (expected, expected_pull), (found, pulled) = both(x)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(pulled, expected_pull, atol=1e-6)


@pytest.mark.parametrize(('size', 'stride', 'pads', 'shape'), CASES[::2])
def test_forward_mode_takes_the_tangent_of_the_largest_value(size, stride, pads, shape):
    rng = np.random.default_rng(0)
    x, tangent = (rng.standard_normal((2, *shape, 3), dtype=np.float32) for _ in range(2))

    @jax.jit
    def pushed(x, tangent):
        return [
            jax.jvp(
                lambda x, w=writing: max_pool(x, size=size, stride=stride, pads=pads, writing=w),
                (x,),
                (tangent,),
            )[1]
            for writing in ('auto', 'shifted', 'windows')
        ]

    auto, shifted, windows = pushed(x, tangent)
    np.testing.assert_array_equal(shifted, windows)
    np.testing.assert_array_equal(auto, windows)


def test_equals_torch_on_relu_maps():
    torch = pytest.importorskip('torch')
    x = np.maximum(np.random.default_rng(1).standard_normal((2, 10, 7, 4), dtype=np.float32), 0)
    theirs = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_(True)
    pooled = torch.nn.functional.max_pool2d(theirs, 3, 2, 1)
    (pooled**2).sum().backward()
    found, pull = jax.vjp(
        lambda x: max_pool(x, size=3, stride=2, pads=((1, 1), (1, 1)), writing='shifted'),
        jnp.asarray(x),
    )
    np.testing.assert_array_equal(found, pooled.detach().permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(
        pull(2 * found)[0], theirs.grad.permute(0, 2, 3, 1).numpy(), rtol=1e-6
    )


def test_nan_stays_visible_and_bfloat16_stays():
    x = jnp.zeros((1, 4, 4, 1), jnp.bfloat16).at[0, 3, 3, 0].set(jnp.nan)
    pooled = max_pool(x, size=2, stride=2, writing='shifted')
    assert pooled.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        np.isnan(pooled.astype(jnp.float32))[0, ..., 0], [[False, False], [False, True]]
    )


def test_halving_averages_windows_and_leaves_an_odd_row_and_column_out():
    x = jnp.arange(2 * 5 * 3 * 2, dtype=jnp.float32).reshape(2, 5, 3, 2)
    halved = average_pool_halving(x)
    assert halved.shape == (2, 2, 1, 2)
    np.testing.assert_allclose(halved[1, 1, 0], x[1, 2:4, 0:2].mean((0, 1)))
