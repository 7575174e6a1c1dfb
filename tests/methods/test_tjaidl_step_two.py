"""Step II of TJ-AIDL in the ways that the paper may be read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid import methods
from jreid.configs import variants
from jreid.methods import tjaidl
from jreid.methods.contract import Context, Problem, State
from jreid.models import backbones

CONTEXT = Context(jax.random.key(0), jnp.float32(0))
SIZE = (16, 8)


def outputs():
    rng = np.random.default_rng(0)
    widths = {'attributes': 4, 'code': 4, 'identity_branch': 7, 'reconstruction': 7}
    return {name: rng.normal(size=(3, n)).astype(np.float32) for name, n in widths.items()}


@functools.partial(jax.jit, static_argnums=3)
def losses_and_slopes(out, row, soft, settings):
    terms = tjaidl.routed_terms('target', tjaidl.LOSSES[1:], settings)
    state, batch = State({}, {'soft_labels': soft}), {'target': {'row': row}}
    found = {}
    for name, term in terms.items():
        loss = lambda out, term=term: term({'target': out}, batch, state, CONTEXT)  # noqa: E731
        found[name] = jax.value_and_grad(loss)(out)
    return found


def cross_entropy(logits, p):
    q = 1 / (1 + np.exp(-logits))
    return -np.mean(np.sum(p * np.log(q) + (1 - p) * np.log(1 - q), axis=1))


@pytest.mark.parametrize('adapt_labels', ['fixed', 'anew'])
def test_soft_labels_by_hand(adapt_labels):
    out, row = outputs(), np.array([4, 0, 2])
    soft = np.random.default_rng(1).uniform(size=(5, 4)).astype(np.float32)
    settings = tjaidl.Settings(adapt_labels=adapt_labels)
    found = losses_and_slopes(out, row, soft, settings)
    now = 1 / (1 + np.exp(-out['attributes']))
    labels = soft[row] if adapt_labels == 'fixed' else now
    apart = out['attributes'] - out['code']
    transfer = 10 * np.mean(apart**2)
    expected = cross_entropy(out['attributes'], labels) + transfer
    value, slopes = found['loss_attributes']
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # Labels are constants: Eq. 2 pulls by the difference of prediction and label, 0 where they are
    # the prediction itself.
    pull = (now - labels) / 3 + 10 * 2 * apart / apart.size
    np.testing.assert_allclose(slopes['attributes'], pull, rtol=1e-4, atol=1e-6)
    reconstruction = 10 * np.mean((out['reconstruction'] - out['identity_branch']) ** 2)
    expected = cross_entropy(out['code'], labels) + transfer + reconstruction
    value, slopes = found['loss_iia']
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert not np.any(slopes['attributes'])


def test_fixed_batch_normalisation_runs_on_the_statistics_that_step_two_begins_with():
    settings = {
        **variants.method_settings('tjaidl'),
        'encoder_widths': (8,),
        'adapt_batch_norm': 'fixed',
    }
    module, _ = backbones.build('tiny_cnn', {'widths': (8,)})
    method = methods.build(settings, module, Problem(SIZE, 5, 20, 12, tuple('abcd')))
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    params, state = jax.tree.map(lambda x: rng.random(x.shape).astype(np.float32), shapes)
    images = rng.normal(size=(4, *SIZE, 3)).astype(np.float32)

    @jax.jit
    def run(params, state):
        batch = {'target': {'image': images, 'row': np.arange(4)}}
        out, moved = method.phases[-1].forward(params, state, batch, CONTEXT)
        return out, moved, method.embed(params, state, images, 'target')

    out, moved, feature = run(params, state)
    np.testing.assert_allclose(out['target']['attribute_branch'], feature, rtol=1e-5)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(before, after)
