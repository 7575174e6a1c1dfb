"""A small DIEN for its tests: settings, parameters, a batch, the embedding in plain words."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jreid.configs import variants
from jreid.methods import dien
from jreid.methods.common import domains
from jreid.methods.contract import Problem, State
from jreid.models import BACKBONES
from jreid.models.heads import max_pool

SIZE = (32, 16)
PROBLEM = Problem(image_size=SIZE, source_identities=8, source_images=96, target_images=96)
SMALL = {
    'embedding_width': 16,
    'attention_width': 8,
    'domain_width': 4,
    'identities_per_batch': 4,
    'target_batch': 16,
}


def settings(variant='dien', **edits):
    values = {**variants.method_settings(variant), **SMALL, **edits}
    del values['name']
    return dien.Settings(**values)


def build(variant='dien', **edits):
    """(settings, network, method, params, state) with random statistics.

    So no pass looks like another by chance. What has the same settings is made once.
    """
    return _built(settings(variant, **edits))


@functools.cache
def _built(s):
    network = dien.Network(BACKBONES['tiny_cnn'].constructor(), PROBLEM.source_identities, s)
    params, state = domains.initial(network, jax.random.key(0), SIZE)
    rng = np.random.default_rng(1)
    statistics = jax.tree.map(
        lambda x: np.asarray(x) + rng.uniform(0, 0.2, x.shape).astype(np.float32), state.statistics
    )
    return (
        s,
        network,
        dien.dien(BACKBONES['tiny_cnn'].constructor(), PROBLEM, s),
        params,
        State(statistics, {}),
    )


@functools.partial(jax.jit, static_argnums=0)
def glimpses(network, params, statistics, x):
    """What a network sees pass by pass in inference: compiled, since each operation by itself would
    be compiled apart.
    """
    bound = {'params': params, 'batch_stats': statistics}
    return network.apply(bound, x, method='glimpses')


inference = jax.jit(domains.inference, static_argnums=(0, 4))
forward = jax.jit(domains.forward, static_argnums=(0, 4))


def images(seed, count=8):
    return np.random.default_rng(seed).normal(size=(count, *SIZE, 3)).astype(np.float32)


def batch(count=16):
    target = {'image': images(4, count) + 0.5, 'label': np.full(count, -1)}
    return {
        'source': {'image': images(3, count), 'identity': np.repeat(np.arange(count // 4), 4)},
        'target': target,
    }


def by_hand(params, statistics, maps):
    """The embedding as the paper words it: both poolings, fully connected layer, batch norm,
    PReLU.
    """
    pooled = jnp.concatenate([maps.mean((1, 2)), max_pool(maps)], -1)
    p, s = params['embedding'], statistics['bn']
    x = (pooled @ p['fc']['kernel'] - s['mean']) / jnp.sqrt(s['var'] + 1e-5) * p['bn']['scale'] + p[
        'bn'
    ]['bias']
    return jnp.where(x >= 0, x, p['prelu']['negative_slope'] * x)
