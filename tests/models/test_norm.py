import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.norm import BatchNorm, batch_norm_groups

ACTIVATIONS = {'none': lambda z: z, 'relu': nn.relu, 'relu6': nn.relu6}


def example():
    rng = np.random.default_rng(0)
    x = 3 * rng.standard_normal((4, 5, 3, 7), dtype=np.float32) + 1
    params = {'scale': rng.uniform(0.5, 2, 7), 'bias': 2 * rng.standard_normal(7)}
    stats = {'mean': rng.standard_normal(7), 'var': rng.uniform(0.5, 2, 7)}
    variables = jax.tree.map(np.float32, {'params': params, 'batch_stats': stats})
    return x, variables, rng.standard_normal(x.shape, dtype=np.float32)


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_training_equals_flax_with_gradients_and_statistics(activation):
    x, variables, weight = example()
    ours = BatchNorm(activation, epsilon=1e-3, momentum=0.9)
    flax = nn.BatchNorm(use_running_average=False, epsilon=1e-3, momentum=0.9)

    def loss(params, x, apply, after):
        out, updates = apply({**variables, 'params': params}, x)
        return jnp.sum(after(out) * weight), updates

    grad = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)

    @jax.jit
    def both(*inputs):
        found = grad(
            *inputs, lambda v, x: ours.apply(v, x, True, mutable=['batch_stats']), lambda y: y
        )
        return found, grad(
            *inputs, lambda v, x: flax.apply(v, x, mutable=['batch_stats']), ACTIVATIONS[activation]
        )

    found, expected = both(variables['params'], x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5, rtol=2e-5), found, expected
    )


@pytest.mark.parametrize('activation', ['none', 'relu'])
def test_forward_mode_and_second_derivatives_are_flaxs(activation):
    x, variables, weight = example()
    ours, flax = BatchNorm(activation, epsilon=1e-3), nn.BatchNorm(False, epsilon=1e-3)
    inputs = (variables['params'], x)
    tangents = jax.tree.map(jnp.cos, inputs)

    def pushed(apply):
        def loss(params, x):
            out, _ = apply({**variables, 'params': params}, x)
            return jnp.sum(out**2 * weight)

        first = jax.jvp(loss, inputs, tangents)[1]
        return first, jax.jvp(jax.grad(loss, argnums=(0, 1)), inputs, tangents)[1]

    found, expected = jax.jit(
        lambda: (
            pushed(lambda v, x: ours.apply(v, x, True, mutable=['batch_stats'])),
            pushed(
                lambda v, x: (
                    ACTIVATIONS[activation](flax.apply(v, x, mutable='batch_stats')[0]),
                    0,
                )
            ),
        )
    )()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max()),
        found,
        expected,
    )


def test_backward_pass_keeps_the_input_alone_and_statistics_pass_no_gradient():
    x, variables, _ = example()
    module = BatchNorm('relu6')

    def apply(x):
        return module.apply(variables, x, True, mutable=['batch_stats'])

    residuals = jax.eval_shape(lambda x: jax.vjp(lambda x: apply(x)[0], x)[1], x)
    assert sum(leaf.size >= x.size for leaf in jax.tree.leaves(residuals)) == 1
    gradient = jax.grad(lambda x: sum(map(jnp.sum, jax.tree.leaves(apply(x)[1]))))(x)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_evaluation_uses_the_running_statistics(activation):
    x, variables, _ = example()
    p, s = variables['params'], variables['batch_stats']
    expected = ACTIVATIONS[activation](
        p['scale'] * (x - s['mean']) / np.sqrt(s['var'] + 1e-5) + p['bias']
    )
    np.testing.assert_allclose(
        BatchNorm(activation).apply(variables, x, False), expected, atol=1e-5
    )


def test_constant_channel_has_finite_gradients_and_nan_stays_visible():
    module = BatchNorm('relu')
    x = jnp.ones((4, 3))
    variables = module.init(jax.random.key(0), x, False)

    def trained(x):
        return module.apply(variables, x, True, mutable=['batch_stats'])[0]

    gradient, broken = jax.jit(
        lambda x: (
            jax.grad(lambda x: trained(x).sum())(x),
            trained(x.at[0, 0].set(jnp.nan)),
        )
    )(x)
    assert np.isfinite(gradient).all()
    assert np.isnan(broken[:, 0]).all()


def test_without_bias_there_is_no_bias_parameter():
    variables = BatchNorm(use_bias=False).init(jax.random.key(0), jnp.ones((2, 3)), True)
    assert set(variables['params']) == {'scale'}


@pytest.mark.parametrize('activation', ['none', 'relu'])
def test_groups_are_normalised_as_batches_of_their_own(activation):
    """Results, gradients, and statistics as the mean of the groups'."""
    x, variables, weight = example()
    whole = BatchNorm(activation, groups=2)
    alone = BatchNorm(activation)

    def loss(params, x, weight, module):
        out, updates = module.apply(
            {**variables, 'params': params}, x, True, mutable=['batch_stats']
        )
        return jnp.sum(out * weight), (out, updates['batch_stats'])

    grad = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnums=3)
    (of_params, of_x), (out, stats) = grad(variables['params'], x, weight, whole)
    halves = [grad(variables['params'], x[i : i + 2], weight[i : i + 2], alone) for i in (0, 2)]
    np.testing.assert_allclose(out, np.concatenate([h[1][0] for h in halves]), atol=1e-5)
    np.testing.assert_allclose(of_x, np.concatenate([h[0][1] for h in halves]), atol=1e-5)
    added = jax.tree.map(jnp.add, halves[0][0][0], halves[1][0][0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), of_params, added)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, halves[0][1][1], halves[1][1][1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), stats, mean)
    together = alone.apply(variables, x, True, mutable=['batch_stats'])[0]
    assert np.abs(out - together).max() > 1e-2


def test_groups_of_the_context_hold_within_it_and_not_at_initialisation():
    module, x = BatchNorm(), jnp.arange(6.0)[:, None] ** 2
    variables = jax.tree.map(
        jnp.asarray,
        {
            'params': {'scale': np.ones(1, np.float32), 'bias': np.zeros(1, np.float32)},
            'batch_stats': {'mean': np.zeros(1, np.float32), 'var': np.ones(1, np.float32)},
        },
    )

    @jax.jit
    def trained(x):
        with batch_norm_groups(3):
            module.init(jax.random.key(0), x[:1], True)
            inside = module.apply(variables, x, True, mutable=['batch_stats'])[0]
            own = BatchNorm(groups=1).apply(variables, x, True, mutable=['batch_stats'])[0]
        outside = module.apply(variables, x, True, mutable=['batch_stats'])[0]
        return inside, own, outside

    with (
        batch_norm_groups(3),
        pytest.raises(ValueError, match='5 images does not divide into 3 groups of batch'),
    ):
        module.apply(variables, x[:5], True, mutable=['batch_stats'])
    inside, own, outside = trained(x)
    np.testing.assert_allclose(inside[:, 0], [-1, 1] * 3, atol=1e-4)
    np.testing.assert_array_equal(outside, own)
