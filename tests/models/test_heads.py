import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.heads import POOLINGS, BNNeck, Classifier, GeM, gem_pool

MAPS = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (2, 3, 4, 5)), jnp.float32)


def test_poolings_by_hand():
    flat = np.asarray(MAPS).reshape(2, 12, 5)
    np.testing.assert_allclose(POOLINGS['average'](MAPS), flat.mean(1), rtol=1e-6)
    np.testing.assert_array_equal(POOLINGS['max'](MAPS), flat.max(1))
    np.testing.assert_allclose(
        POOLINGS['average_max'](MAPS), np.concatenate([flat.mean(1), flat.max(1)], 1), rtol=1e-6
    )
    np.testing.assert_allclose(POOLINGS['gem'](MAPS), (flat**3).mean(1) ** (1 / 3), rtol=1e-5)


def test_gem_runs_from_average_to_maximum():
    np.testing.assert_allclose(gem_pool(MAPS, 1.0), POOLINGS['average'](MAPS), rtol=1e-5)
    np.testing.assert_allclose(gem_pool(MAPS, 80.0), POOLINGS['max'](MAPS), rtol=0.05)


@pytest.mark.parametrize('name', POOLINGS)
def test_gradients_of_zero_maps_are_finite(name):
    gradient = jax.jit(jax.grad(lambda m: POOLINGS[name](m).sum()))(np.zeros((1, 2, 2, 3), 'f'))
    assert np.isfinite(gradient).all()


def test_gem_learns_its_power():
    variables = GeM().init(jax.random.key(0), MAPS)
    assert variables['params']['power'] == 3.0
    slope = jax.jit(jax.grad(lambda p: GeM().apply({'params': p}, MAPS).sum()))
    assert slope(variables['params'])['power'] > 0


def test_neck_has_no_bias_and_normalises():
    features = jnp.asarray(np.random.default_rng(0).normal(3, 2, (64, 5)), jnp.float32)
    variables = BNNeck().init(jax.random.key(0), features)
    assert set(variables['params']['bn']) == {'scale'}
    out, _ = BNNeck().apply(variables, features, train=True, mutable=['batch_stats'])
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-4)


def test_masked_classes_get_no_probability_and_no_gradient():
    features = jnp.ones((3, 4))
    variables = jax.jit(Classifier(6).init)(jax.random.key(0), features)
    assert set(variables['params']['fc']) == {'kernel'}
    valid = jnp.array([True, True, False, True, False, True])

    def loss(params):
        return -jax.nn.log_softmax(Classifier(6).apply({'params': params}, features, valid))[
            :, 0
        ].sum()

    probabilities, gradient = jax.jit(
        lambda variables: (
            jax.nn.softmax(Classifier(6).apply(variables, features, valid)),
            jax.grad(loss)(variables['params'])['fc']['kernel'],
        )
    )(variables)
    assert (np.asarray(probabilities)[:, [2, 4]] == 0).all()
    gradient = np.asarray(gradient)
    assert (gradient[:, [2, 4]] == 0).all()
    assert (np.abs(gradient[:, [0, 1, 3, 5]]) > 0).all()
