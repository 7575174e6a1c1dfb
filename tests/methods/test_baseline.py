"""Tests the strong baseline's heads, losses, masks and statistics against references."""

import jax
import numpy as np
import pytest
from flax import linen as nn
from preparing import prepared

from jreid.engine import augment
from jreid.methods.common import baseline, domains
from jreid.methods.contract import SOURCE, TARGET


class Maps(nn.Module):
    """Stands for a backbone: [b, 8, 4, 3] images are their own map, scaled."""

    @nn.compact
    def __call__(self, images, train=False):
        return images * self.param('scale', nn.initializers.ones_init(), ())


def images_of(seed, n=6):
    return np.random.default_rng(seed).standard_normal((n, 8, 4, 3)).astype(np.float32)


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


def test_joint_embedding_of_the_whole_alone_ends_with_a_relu():
    network = baseline.Network(Maps(), 5, joint_width=7, joint_of='whole')
    params, state = domains.initial(network, jax.random.key(0), (8, 4))
    assert params['joint']['kernel'].shape == (3, 7)
    x = images_of(2)
    out = jax.jit(lambda *a: domains.inference(network, *a, SOURCE, tasks=('parts',)))(
        params, state, x
    )
    expected = x.max(axis=(1, 2)) @ params['joint']['kernel'] / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(out['joint'], np.maximum(expected, 0), rtol=1e-4, atol=1e-6)
    assert (out['joint'] == 0).any()


@pytest.fixture(scope='module')
def fresh(network):
    """Fresh parameters and state."""
    return domains.initial(network, jax.random.key(0), (8, 4))


def test_shapes_and_pools(network, fresh):
    x = images_of(1)
    out = jax.jit(lambda *a: domains.inference(network, *a, SOURCE))(*fresh, x)
    assert out['logits'].shape == (6, 5)
    assert out['parsing'].shape == (6, 16, 8, 8)
    assert out['attributes'].shape == (6, 3, 2)
    assert out['joint'].shape == (6, 7)
    np.testing.assert_allclose(out['pooled'], x.max(axis=(1, 2)))
    np.testing.assert_allclose(out['upper'], x[:, :4].max(axis=(1, 2)))
    np.testing.assert_allclose(out['lower'], x[:, 4:].max(axis=(1, 2)))
    np.testing.assert_array_equal(out['whole'], out['pooled'])


def test_retrieval_needs_no_head(network, fresh):
    params, state = fresh
    kept = {name: params[name] for name in ('backbone', 'neck')}
    statistics = {d: {'neck': state.statistics[d]['neck']} for d in (SOURCE, TARGET)}
    x = images_of(2)
    for feature in ('pooled', 'neck'):
        embed = baseline.embedding(network, feature)
        whole = embed(params, state, x, TARGET)
        alone = embed(kept, state._replace(statistics=statistics), x, TARGET)
        np.testing.assert_array_equal(alone, whole)


def test_attribute_heads_are_separate(fresh):
    """The logits of one attribute depend on its own columns alone."""
    weights = fresh[0]['attribute_heads']
    pooled = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    statistics = {'bn': {'mean': np.zeros(6), 'var': np.ones(6)}}
    variables = {'params': weights, 'batch_stats': statistics}
    out = jax.jit(lambda *a: baseline.AttributeHeads(3, 2).apply(*a, False))(variables, pooled)
    weights = jax.tree.map(np.asarray, weights)
    for m in range(3):
        responses = np.asarray(pooled) @ weights['hidden']['kernel'][:, 2 * m : 2 * m + 2]
        hidden = np.maximum(responses / np.sqrt(1 + 1e-5), 0)
        expected = hidden @ weights['kernel'][m] + weights['bias'][m]
        np.testing.assert_allclose(out[:, m], expected, rtol=1e-5, atol=1e-6)


def passed(network, params, state, images, batch_norm):
    """Returns the state after a pass of target images through no head."""

    def run(*arguments):
        options = {'tasks': (), 'batch_norm': batch_norm}
        return baseline.forward(network, *arguments, TARGET, **options)[1]

    return jax.jit(run)(params, state, images)


@pytest.mark.parametrize('batch_norm', ['split', 'joint'])
def test_statistics_of_the_domains(network, fresh, batch_norm):
    x = images_of(4) + 3
    after = passed(network, *fresh, x, batch_norm)
    expected = 0.1 * x.max(axis=(1, 2)).mean(0)
    mean = {domain: after.statistics[domain]['neck']['bn']['mean'] for domain in (SOURCE, TARGET)}
    np.testing.assert_allclose(mean[TARGET], expected, rtol=1e-5)
    source = expected if batch_norm == 'joint' else np.zeros(3)
    np.testing.assert_allclose(mean[SOURCE], source, rtol=1e-5)
    # Heads that did not run keep theirs.
    np.testing.assert_array_equal(after.statistics[TARGET]['parsing']['bn']['mean'], np.zeros(4))


def test_common_statistics_go_on_from_those_estimated_on_the_target(network, fresh):
    """As SSG's rounds begin: the estimate is not thrown away for what the source left."""
    params, state = fresh
    estimated = jax.tree.map(lambda x: x + 5.0, state.statistics[TARGET])
    begun = state._replace(statistics={SOURCE: state.statistics[SOURCE], TARGET: estimated})
    x = images_of(6)
    after = passed(network, params, begun, x, 'joint')
    expected = 0.9 * 5.0 + 0.1 * x.max(axis=(1, 2)).mean(0)
    for domain in (SOURCE, TARGET):
        mean = after.statistics[domain]['neck']['bn']['mean']
        np.testing.assert_allclose(mean, expected, rtol=1e-5)


def minus_log_softmax(logits):
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(-1, keepdims=True)) - logits


def test_parsing_loss_by_pixels():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 4, 3, 8)).astype(np.float32)
    mask = rng.integers(0, 8, (2, 8, 9), np.uint8)
    mask[0, :3, :4] = baseline.UNLABELLED
    # Half the height: a pixel's centre falls on the edge of two, the lower one counts; a third of
    # the width: the middle one.
    small = mask[:, 1::2, 1::3]
    resized = jax.jit(lambda x: baseline.resize_nearest(x, (4, 3)))(mask)
    np.testing.assert_array_equal(resized, small)
    known = small != baseline.UNLABELLED
    assert 0 < known.sum() < known.size
    losses = minus_log_softmax(logits)[known]
    expected = np.take_along_axis(losses, small[known][:, None], axis=-1).mean()
    parsing_loss = jax.jit(baseline.parsing_loss)
    loss = parsing_loss(logits, mask)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    nobody = np.full((2, 8, 9), baseline.UNLABELLED, np.uint8)
    assert parsing_loss(logits, nobody) == 0


def test_attribute_loss_soft_and_one_hot():
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((5, 3, 2)).astype(np.float32)
    soft = rng.uniform(size=(5, 3)).astype(np.float32)
    soft[2] = np.nan
    known = [0, 1, 3, 4]
    no, yes = np.moveaxis(minus_log_softmax(logits)[known], -1, 0)
    loss, gradient = jax.jit(jax.value_and_grad(baseline.attribute_loss))(logits, soft)
    expected = (soft[known] * yes + (1 - soft[known]) * no).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(gradient[2], 0)
    one_hot = jax.jit(lambda *a: baseline.attribute_loss(*a, soft=False))(logits, soft)
    expected = np.where(soft[known] >= 0.5, yes, no).mean()
    np.testing.assert_allclose(one_hot, expected, rtol=1e-5)


def test_masks_move_with_their_images():
    """An image that shows its own mask still does after flip and crop."""
    masks = np.random.default_rng(2).integers(0, 8, (16, 12, 6), np.uint8)
    images = np.repeat(30 * masks[..., None], 3, axis=-1)
    key = jax.random.key(5)
    shown = jax.jit(prepared((0.0,) * 3, (1 / 255,) * 3, pad=2, erase_probability=0.0).random)(
        key, images
    )
    moved = jax.jit(lambda *a: augment.augment_masks(*a, flip=True, pad=2))(key, masks)
    np.testing.assert_allclose(shown[..., 0], 30.0 * moved, atol=1e-3)
    assert (moved != masks).any(axis=(1, 2)).sum() > 12
    fixed = jax.jit(lambda *a: augment.augment_masks(*a, flip=False, pad=0))(key, masks)
    np.testing.assert_array_equal(fixed, masks)
