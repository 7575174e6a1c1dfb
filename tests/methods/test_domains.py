"""One network, two domains: whose statistics a pass moves, and AdaBN against numpy."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.data import Index
from jreid.engine import sharding
from jreid.evaluation import features
from jreid.methods.common import domains
from jreid.methods.contract import SOURCE, TARGET
from jreid.models.norm import BatchNorm

MOMENTUM = 0.9


class TwoNorms(nn.Module):
    """Batch norm of the pixels, a layer, batch norm again: both inputs can be computed by hand."""

    @nn.compact
    def __call__(self, images, train=False):
        x = BatchNorm(momentum=MOMENTUM, name='first')(images, train)
        return BatchNorm('relu', momentum=MOMENTUM, name='second')(
            nn.Dense(5, name='dense')(x), train
        )


@pytest.fixture(scope='module')
def network():
    net = TwoNorms()
    params, state = domains.initial(net, jax.random.key(0), (4, 2))
    rng = np.random.default_rng(0)
    images = rng.normal(loc=2, scale=3, size=(3, 6, 4, 2, 3)).astype(np.float32)
    return net, params, state, images


def by_hand(params, images):
    """Mean and biased variance of the batch at each batch norm's input."""
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))
    x = (images - mean) / np.sqrt(variance + 1e-5) @ np.asarray(
        params['dense']['kernel']
    ) + np.asarray(params['dense']['bias'])
    return {
        'first': {'mean': mean, 'var': variance},
        'second': {'mean': x.mean((0, 1, 2)), 'var': x.var((0, 1, 2))},
    }


def same(found, expected, **tolerance):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **{'rtol': 1e-4, 'atol': 1e-5, **tolerance}),
        found,
        expected,
    )


def test_both_domains_start_alike_in_buffers_of_their_own(network):
    _, _, state, _ = network
    same(state[SOURCE], state[TARGET])
    for a, b in zip(jax.tree.leaves(state[SOURCE]), jax.tree.leaves(state[TARGET]), strict=True):
        assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()  # the train step donates both


@pytest.mark.parametrize(('domain', 'other'), [(SOURCE, TARGET), (TARGET, SOURCE)])
def test_a_pass_moves_the_statistics_of_its_own_domain_only(domain, other, network):
    net, params, state, images = network
    _, moved = domains.forward(net, params, state, images[0], domain)
    for a, b in zip(jax.tree.leaves(moved[other]), jax.tree.leaves(state[other]), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = jax.tree.map(
        lambda old, new: MOMENTUM * np.asarray(old) + (1 - MOMENTUM) * new,
        state[domain],
        by_hand(params, images[0]),
    )
    same(moved[domain], expected)


def test_a_joint_pass_is_one_batch_of_both(network):
    net, params, state, images = network
    first, second, moved = domains.forward_jointly(net, params, state, images[0], images[1][:4])
    both, alone = domains.forward(
        net, params, state, np.concatenate([images[0], images[1][:4]]), TARGET
    )
    np.testing.assert_allclose(np.concatenate([first, second]), both, rtol=1e-6)
    assert (len(first), len(second)) == (6, 4)
    same(moved[SOURCE], alone[TARGET])
    same(moved[TARGET], alone[TARGET])


def test_inference_uses_the_statistics_of_the_domain_asked_for(network):
    net, params, state, images = network
    statistics = by_hand(params, images[0])
    variables = {
        'params': params,
        'model_state': {**state, TARGET: jax.tree.map(jnp.asarray, statistics)},
    }
    trained, _ = domains.forward(net, params, state, images[0], TARGET)
    np.testing.assert_allclose(
        domains.inference(net, variables, images[0], TARGET), trained, rtol=1e-4, atol=1e-4
    )
    assert (
        np.abs(np.asarray(domains.inference(net, variables, images[0], SOURCE)) - trained).max()
        > 0.5
    )


def test_adabn_of_one_batch_is_its_own_mean_and_variance(network):
    """Whatever statistics the model came with, and only the target's are replaced."""
    net, params, state, images = network
    _, state = domains.forward(net, params, state, 5 * images[2], TARGET)
    found = jax.jit(domains.batch_statistics(net, MOMENTUM))(
        {'params': params, 'model_state': state}, images[0]
    )
    same(found[TARGET], by_hand(params, images[0]))
    same(found[SOURCE], state[SOURCE], rtol=0)


def test_adabn_where_the_backbones_momentum_is_another(network):
    class Two(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            return BatchNorm(name='head')(
                BatchNorm(momentum=0.99, use_bias=False, name='backbone')(images, train), train
            )

    images = network[3][0]
    net = Two()
    params, state = domains.initial(net, jax.random.key(0), (4, 2))
    found = domains.batch_statistics(net, 0.99)({'params': params, 'model_state': state}, images)[
        TARGET
    ]
    same(found['backbone'], {'mean': images.mean((0, 1, 2)), 'var': images.var((0, 1, 2))})
    same(found['head'], {'mean': np.zeros(3), 'var': np.ones(3)}, atol=1e-3)


def test_network_without_batch_norm_passes_through():
    class Plain(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            return nn.Dense(2)(images)

    params, state = domains.initial(Plain(), jax.random.key(0), (2, 2))
    assert not jax.tree.leaves(state)
    _, moved = domains.forward(Plain(), params, state, jnp.ones((2, 2, 2, 3)), TARGET)
    found = domains.batch_statistics(Plain(), MOMENTUM)(
        {'params': params, 'model_state': moved}, jnp.ones((2, 2, 2, 3))
    )
    assert not jax.tree.leaves(found)


def test_adabn_of_a_split_is_the_mean_over_its_batches(network):
    """18 images in batches of 6: mean of the batches' means and of their variances; a remainder
    is dropped.
    """
    net, params, state, images = network
    pixels = images.reshape(18, 4, 2, 3)
    index = Index(
        np.array([f'/{i}.jpg' for i in range(18)]), np.full(18, -1), np.zeros(18, np.int32)
    )
    seen = []

    def read(plan):
        seen.append(plan)
        return (pixels[rows] for rows in plan)

    feed = SimpleNamespace(index=index, images=read)
    step = jax.jit(domains.batch_statistics(net, MOMENTUM))
    variables = {'params': params, 'model_state': state}
    found = features.adapt_statistics(
        step, variables, feed, batch=6, mesh=sharding.make_mesh(), seed=3
    )
    assert sorted(seen[0].ravel()) == list(range(18))
    each = [by_hand(params, pixels[rows]) for rows in seen[0]]
    same(found[TARGET], jax.tree.map(lambda *x: np.mean(x, axis=0), *each))
    limited = features.adapt_statistics(
        step, variables, feed, batch=6, mesh=sharding.make_mesh(), seed=3, limit=6
    )
    same(limited[TARGET], each[0])
    small = features.adapt_statistics(
        step, variables, feed, batch=100, mesh=sharding.make_mesh(), seed=3
    )
    same(small[TARGET], by_hand(params, pixels))
