"""The strong baseline's pieces against references: heads, losses, masks, and statistics of the
domains.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jreid.engine import augment
from jreid.methods.common import baseline, domains
from jreid.methods.contract import SOURCE, TARGET


class Maps(nn.Module):
    """Stands for a backbone: [b, 8, 4, 3] images are their own map, scaled."""

    @nn.compact
    def __call__(self, images, train=False):
        return images * self.param('scale', nn.initializers.ones_init(), ())


def images_of(seed, n=6):
    return jax.random.normal(jax.random.key(seed), (n, 8, 4, 3))


@pytest.fixture(scope='module')
def network():
    return baseline.Network(
        Maps(),
        5,
        parsing_classes=8,
        parsing_width=4,
        attributes=3,
        attribute_width=2,
        joint_width=7,
    )


@pytest.fixture(scope='module')
def variables(network):
    return domains.initial(network, jax.random.key(0), (8, 4))


def test_shapes_and_pools(network, variables):
    x = images_of(1)
    out = domains.inference(
        network, {'params': variables[0], 'model_state': variables[1]}, x, SOURCE
    )
    assert out['logits'].shape == (6, 5)
    assert out['parsing'].shape == (6, 16, 8, 8)
    assert out['attributes'].shape == (6, 3, 2)
    assert out['joint'].shape == (6, 7)
    np.testing.assert_allclose(out['pooled'], x.max(axis=(1, 2)))
    np.testing.assert_allclose(out['upper'], x[:, :4].max(axis=(1, 2)))
    np.testing.assert_allclose(out['lower'], x[:, 4:].max(axis=(1, 2)))
    np.testing.assert_array_equal(out['whole'], out['pooled'])


def test_retrieval_needs_no_head(network, variables):
    params, model_state = variables
    kept = {name: params[name] for name in ('backbone', 'neck')}
    state = {domain: {'neck': model_state[domain]['neck']} for domain in (SOURCE, TARGET)}
    x = images_of(2)
    for feature in ('pooled', 'neck'):
        embed = baseline.embedding(network, feature)
        whole = embed({'params': params, 'model_state': model_state}, x, TARGET)
        np.testing.assert_array_equal(
            embed({'params': kept, 'model_state': state}, x, TARGET), whole
        )


def test_attribute_heads_are_separate(network, variables):
    """The logits of one attribute depend on its own columns alone."""
    params, _ = variables
    pooled = jax.random.normal(jax.random.key(3), (4, 3))
    head = baseline.AttributeHeads(3, 2)
    state = {'bn': {'mean': jnp.zeros(6), 'var': jnp.ones(6)}}
    out = head.apply({'params': params['attribute_heads'], 'batch_stats': state}, pooled, False)
    weights = params['attribute_heads']
    for m in range(3):
        hidden = np.maximum(
            np.asarray(pooled @ weights['hidden']['kernel'][:, 2 * m : 2 * m + 2])
            / np.sqrt(1 + 1e-5),
            0,
        )
        np.testing.assert_allclose(
            out[:, m], hidden @ weights['kernel'][m] + weights['bias'][m], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize('batch_norm', ['split', 'joint'])
def test_statistics_of_the_domains(network, variables, batch_norm):
    params, state = variables
    x = images_of(4) + 3
    _, moved = baseline.forward(network, params, state, x, TARGET, tasks=(), batch_norm=batch_norm)
    expected = 0.1 * x.max(axis=(1, 2)).mean(0)
    np.testing.assert_allclose(moved[TARGET]['neck']['bn']['mean'], expected, rtol=1e-5)
    source = expected if batch_norm == 'joint' else np.zeros(3)
    np.testing.assert_allclose(moved[SOURCE]['neck']['bn']['mean'], source, rtol=1e-5)
    # Heads that did not run keep theirs.
    np.testing.assert_array_equal(moved[TARGET]['parsing']['bn']['mean'], np.zeros(4))


def test_common_statistics_go_on_from_those_estimated_on_the_target(network, variables):
    """As SSG's rounds begin: the estimate is not thrown away for what the source left."""
    params, state = variables
    estimated = jax.tree.map(lambda x: x + 5.0, state[TARGET])
    x = images_of(6)
    _, moved = baseline.forward(
        network,
        params,
        {SOURCE: state[SOURCE], TARGET: estimated},
        x,
        TARGET,
        tasks=(),
        batch_norm='joint',
    )
    for domain in (SOURCE, TARGET):
        np.testing.assert_allclose(
            moved[domain]['neck']['bn']['mean'],
            0.9 * 5.0 + 0.1 * x.max(axis=(1, 2)).mean(0),
            rtol=1e-5,
        )


def minus_log_softmax(logits):
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(-1, keepdims=True)) - logits


def test_parsing_loss_by_pixels():
    rng = np.random.default_rng(0)
    logits, mask = (
        rng.standard_normal((2, 4, 3, 8)).astype(np.float32),
        rng.integers(0, 8, (2, 8, 9), np.uint8),
    )
    mask[0, :3, :4] = baseline.UNLABELLED
    # Half the height: a pixel's centre falls on the edge of two, the lower one counts; a third of
    # the width: the middle one.
    small = mask[:, 1::2, 1::3]
    np.testing.assert_array_equal(baseline.resize_nearest(jnp.asarray(mask), (4, 3)), small)
    known = small != baseline.UNLABELLED
    assert 0 < known.sum() < known.size
    expected = np.take_along_axis(
        minus_log_softmax(logits)[known], small[known][:, None], axis=-1
    ).mean()
    np.testing.assert_allclose(
        baseline.parsing_loss(jnp.asarray(logits), jnp.asarray(mask)), expected, rtol=1e-5
    )
    nobody = jnp.full((2, 8, 9), baseline.UNLABELLED, jnp.uint8)
    assert baseline.parsing_loss(jnp.asarray(logits), nobody) == 0


def test_attribute_loss_soft_and_one_hot():
    rng = np.random.default_rng(1)
    logits, soft = (
        rng.standard_normal((5, 3, 2)).astype(np.float32),
        rng.uniform(size=(5, 3)).astype(np.float32),
    )
    soft[2] = np.nan
    known = [0, 1, 3, 4]
    no, yes = np.moveaxis(minus_log_softmax(logits)[known], -1, 0)
    expected = (soft[known] * yes + (1 - soft[known]) * no).mean()
    np.testing.assert_allclose(
        baseline.attribute_loss(jnp.asarray(logits), jnp.asarray(soft)), expected, rtol=1e-5
    )
    expected = np.where(soft[known] >= 0.5, yes, no).mean()
    np.testing.assert_allclose(
        baseline.attribute_loss(jnp.asarray(logits), jnp.asarray(soft), soft=False),
        expected,
        rtol=1e-5,
    )
    gradient = jax.grad(lambda x: baseline.attribute_loss(x, jnp.asarray(soft)))(
        jnp.asarray(logits)
    )
    np.testing.assert_array_equal(gradient[2], 0)


def test_masks_move_with_their_images():
    """An image that shows its own mask still does after flip and crop."""
    masks = np.random.default_rng(2).integers(0, 8, (16, 12, 6), np.uint8)
    images = jnp.asarray(np.repeat(30 * masks[..., None], 3, axis=-1))
    key = jax.random.key(5)
    settings = {'mean': (0.0,) * 3, 'std': (1 / 255,) * 3, 'erase_probability': 0.0}
    shown = augment.augment(key, images, pad=2, **settings)
    moved = augment.augment_masks(key, jnp.asarray(masks), pad=2)
    np.testing.assert_allclose(shown[..., 0], 30.0 * moved, atol=1e-3)
    assert (moved != masks).any(axis=(1, 2)).sum() > 12
    np.testing.assert_array_equal(
        augment.augment_masks(key, jnp.asarray(masks), flip=False, pad=0), masks
    )
