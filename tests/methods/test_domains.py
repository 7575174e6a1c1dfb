"""Tests one network on two domains: whose statistics a pass moves, and AdaBN against numpy."""

import functools
from types import SimpleNamespace

import flax.linen as nn
import jax
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
    """Batch norm of the pixels, a layer, batch norm again: both inputs are computed by hand."""

    @nn.compact
    def __call__(self, images, train=False):
        x = BatchNorm(momentum=MOMENTUM, name='first')(images, train)
        x = nn.Dense(5, name='dense')(x)
        return BatchNorm('relu', momentum=MOMENTUM, name='second')(x, train)


@pytest.fixture(scope='module')
def network():
    net = TwoNorms()
    params, state = domains.initial(net, jax.random.key(0), (4, 2))
    rng = np.random.default_rng(0)
    images = rng.normal(loc=2, scale=3, size=(3, 6, 4, 2, 3)).astype(np.float32)
    return net, params, state, images


def by_hand(params, images):
    """Returns mean and biased variance of the batch at each batch norm's input."""
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))
    kernel, bias = (np.asarray(params['dense'][name]) for name in ('kernel', 'bias'))
    x = (images - mean) / np.sqrt(variance + 1e-5) @ kernel + bias
    return {
        'first': {'mean': mean, 'var': variance},
        'second': {'mean': x.mean((0, 1, 2)), 'var': x.var((0, 1, 2))},
    }


def forward(net, domain):
    """Returns (params, state, images) -> outputs and state of a training pass."""
    return jax.jit(lambda *arguments: domains.forward(net, *arguments, domain))


def assert_same(actual, expected, **tolerance):
    tolerance = {'rtol': 1e-4, 'atol': 1e-5, **tolerance}
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected)


def test_both_domains_start_alike_and_train_in_buffers_of_their_own(network):
    _, _, state, _ = network
    assert_same(state.statistics[SOURCE], state.statistics[TARGET])
    assert state.memory == {}
    placed = sharding.replicate(sharding.make_mesh(), state).statistics
    for a, b in zip(jax.tree.leaves(placed[SOURCE]), jax.tree.leaves(placed[TARGET]), strict=True):
        assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()  # the train step donates both


@pytest.mark.parametrize(('domain', 'other'), [(SOURCE, TARGET), (TARGET, SOURCE)])
def test_a_pass_moves_the_statistics_of_its_own_domain_only(domain, other, network):
    net, params, state, images = network
    state = state._replace(memory={'bank': np.ones(3)})
    _, after = forward(net, domain)(params, state, images[0])
    assert_same(after.statistics[other], state.statistics[other], rtol=0, atol=0)
    np.testing.assert_array_equal(after.memory['bank'], np.ones(3))
    expected = jax.tree.map(
        lambda old, new: MOMENTUM * np.asarray(old) + (1 - MOMENTUM) * new,
        state.statistics[domain],
        by_hand(params, images[0]),
    )
    assert_same(after.statistics[domain], expected)


def test_a_joint_pass_is_one_batch_of_both(network):
    net, params, state, images = network
    first, second, after = domains.forward_jointly(net, params, state, images[0], images[1][:4])
    joined = np.concatenate([images[0], images[1][:4]])
    # Not compiled: two programs may differ by more than the tolerance.
    both, alone = domains.forward(net, params, state, joined, TARGET)
    np.testing.assert_allclose(np.concatenate([first, second]), both, rtol=1e-6)
    assert (len(first), len(second)) == (6, 4)
    assert_same(after.statistics[SOURCE], alone.statistics[TARGET])
    assert_same(after.statistics[TARGET], alone.statistics[TARGET])


def test_inference_uses_the_statistics_of_the_domain_asked_for(network):
    net, params, state, images = network
    own = jax.tree.map(np.float32, by_hand(params, images[0]))
    adapted = state._replace(statistics={**state.statistics, TARGET: own})
    trained, _ = forward(net, TARGET)(params, state, images[0])
    infer = jax.jit(functools.partial(domains.inference, net), static_argnums=3)
    target = infer(params, adapted, images[0], TARGET)
    np.testing.assert_allclose(target, trained, rtol=1e-4, atol=1e-4)
    source = infer(params, adapted, images[0], SOURCE)
    assert np.abs(np.asarray(source) - trained).max() > 0.5


def test_adabn_of_one_batch_is_its_own_mean_and_variance(network):
    """Whatever statistics the model came with, and only the target's are replaced."""
    net, params, state, images = network
    _, state = forward(net, TARGET)(params, state, 5 * images[2])
    adapted = jax.jit(domains.batch_statistics(net, MOMENTUM))(params, state, images[0])
    assert_same(adapted[TARGET], by_hand(params, images[0]))
    assert_same(adapted[SOURCE], state.statistics[SOURCE], rtol=0)


def test_adabn_where_the_backbones_momentum_is_another(network):
    class Two(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            x = BatchNorm(momentum=0.99, use_bias=False, name='backbone')(images, train)
            return BatchNorm(name='head')(x, train)

    images = network[3][0]
    net = Two()
    params, state = domains.initial(net, jax.random.key(0), (4, 2))
    adapted = jax.jit(domains.batch_statistics(net, 0.99))(params, state, images)[TARGET]
    assert_same(adapted['backbone'], {'mean': images.mean((0, 1, 2)), 'var': images.var((0, 1, 2))})
    assert_same(adapted['head'], {'mean': np.zeros(3), 'var': np.ones(3)}, atol=1e-3)


def test_network_without_batch_norm_passes_through():
    class Plain(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            return nn.Dense(2)(images)

    params, state = domains.initial(Plain(), jax.random.key(0), (2, 2))
    assert not jax.tree.leaves(state)
    images = np.ones((2, 2, 2, 3), np.float32)
    _, after = domains.forward(Plain(), params, state, images, TARGET)
    adapted = domains.batch_statistics(Plain(), MOMENTUM)(params, after, images)
    assert not jax.tree.leaves(adapted)


def test_adabn_of_a_split_is_the_mean_over_its_batches(network):
    """18 images in batches of 6: mean of the batches' means and of their variances.

    A remainder is dropped.
    """
    net, params, state, images = network
    pixels = images.reshape(18, 4, 2, 3)
    paths = np.array([f'/{i}.jpg' for i in range(18)])
    index = Index(paths, np.full(18, -1), np.zeros(18, np.int32))
    plans = []

    def read(plan):
        plans.append(plan)
        return (pixels[rows] for rows in plan)

    feed = SimpleNamespace(index=index, images=read)
    function = jax.jit(domains.batch_statistics(net, MOMENTUM))

    def adapted(batch, **options):
        options = {'mesh': sharding.make_mesh(), 'seed': 3, **options}
        return features.adapt_statistics(function, params, state, feed, batch=batch, **options)

    whole = adapted(6)
    assert sorted(plans[0].ravel()) == list(range(18))
    each = [by_hand(params, pixels[rows]) for rows in plans[0]]
    assert_same(whole[TARGET], jax.tree.map(lambda *x: np.mean(x, axis=0), *each))
    assert_same(adapted(6, limit=6)[TARGET], each[0])
    assert_same(adapted(100)[TARGET], by_hand(params, pixels))
