"""DMTNet: its network's parts, and each term of its objective against numpy."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dmtnet_case import PROBLEM, SIZE, build, log_softmax, network, whole
from phases import evaluate
from sklearn.metrics import pairwise_distances

from jreid.methods.contract import SOURCE, TARGET


@pytest.fixture(scope='module')
def ready():
    return whole()


@jax.jit
def inference(params, images):
    return network().apply({'params': params}, images, train=False)


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, 8, *SIZE, 3)).astype(np.float32)
    images[1] += 0.3
    source = {
        'image': images[0],
        'identity': np.repeat([0, 2, 3, 5], 2).astype(np.int32),
        'attributes': rng.integers(0, 2, (8, 3)).astype(np.float32),
    }
    target = {'image': images[1], 'label': np.array([1, 1, 7, 7, 8, 8, -1, -1], np.int32)}
    return jax.tree.map(jnp.asarray, {'source': source, 'target': target})


# F_id 20 (32 - 8 - 4), F_cl 8, attended attributes 4.
@pytest.mark.parametrize(
    ('variant', 'width', 'attention'),
    [
        ('dmtnet', 32, True),
        ('dmtnet-reranking', 32, True),
        ('mtwaanet', 32, False),
        ('mtwcnet', 24, True),
        ('mtwinet', 12, True),
        ('mtwnnet', 32, True),
    ],
)
def test_matching_feature_has_the_parts_that_the_variant_keeps(variant, width, attention):
    problem = dataclasses.replace(PROBLEM, target_identities=5)
    method = build(variant, problem)
    params, state = jax.eval_shape(method.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((3, *SIZE, 3), jnp.float32)
    embedded = jax.eval_shape(lambda p, s, x: method.embed(p, s, x, TARGET), params, state, images)
    assert embedded.shape == (3, width)
    assert ('attention' in params) == attention
    assert ('identification' in params) == (variant != 'mtwinet')
    assert params['attributes']['kernel'].shape == (10, 4 * 3)


def test_source_without_attributes_has_no_attribute_head_and_f_id_takes_its_width():
    method = build(problem=dataclasses.replace(PROBLEM, attribute_names=()))
    params, _ = jax.eval_shape(method.init, jax.random.key(0))
    assert not {'attributes', 'attention'} & set(params)
    assert params['identification']['kernel'].shape == (10, 32 - 8)


def test_attention_is_equation_4_and_its_loss_equation_3(ready, batch):
    method, params, state = ready
    images, labels = batch['source']['image'], np.asarray(batch['source']['attributes'])
    out = jax.tree.map(np.asarray, inference(params, images))
    assert out['base'].shape == (8, 10)
    weights = jax.tree.map(np.asarray, params)
    responses = out['base'] @ weights['attributes']['kernel'] + weights['attributes']['bias']
    columns = responses.reshape(8, 4, 3)
    scores = responses @ weights['attention']['kernel'] + weights['attention']['bias']
    U = (1 / (1 + np.exp(-scores))).reshape(8, 3, 3)
    attended = np.zeros((8, 4))
    frobenius = np.zeros(8)
    for i in range(8):
        product = columns[i] @ U[i]
        attended[i] = sum(product[:, j] for j in range(3)) / 3
        frobenius[i] = np.sqrt(
            sum((U[i, k, j] - labels[i, k]) ** 2 for k in range(3) for j in range(3))
        )
    np.testing.assert_allclose(out['attributes'], attended, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        out['matching'],
        np.concatenate([out['matching'][:, :20], out['classification'], attended], 1),
        rtol=1e-4,
        atol=1e-5,
    )
    result = evaluate(method.phases[0], params, state, {'source': batch['source']})
    np.testing.assert_allclose(result.scalars['attributes'], frobenius.mean(), rtol=1e-4)


def test_images_that_nobody_annotated_do_not_count_in_equation_3(ready, batch):
    method, params, state = ready
    source = {
        **batch['source'],
        'attributes': batch['source']['attributes'].at[jnp.array([1, 6])].set(jnp.nan),
    }
    result = evaluate(method.phases[0], params, state, {'source': source})
    kept = np.array([0, 2, 3, 4, 5, 7])
    out = inference(params, batch['source']['image'])
    expected = np.linalg.norm(
        np.asarray(out['attention'] - batch['source']['attributes'][:, :, None]).reshape(8, -1),
        axis=1,
    )[kept].mean()
    np.testing.assert_allclose(result.scalars['attributes'], expected, rtol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.gradients))


def hardest_triplets(features, labels, margin):
    """Batch-hard on squared distances, anchor by anchor."""
    distances, losses = pairwise_distances(features) ** 2, []
    for i, label in enumerate(labels):
        positives = [
            distances[i, j] for j in range(len(labels)) if j != i and labels[j] == label >= 0
        ]
        negatives = [
            distances[i, j] for j in range(len(labels)) if labels[j] >= 0 and labels[j] != label
        ]
        if label >= 0 and positives and negatives:
            losses.append(max(0.0, margin + max(positives) - min(negatives)))
    return np.mean(losses)


def mean_assignment(features, centroids):
    q = 1 / (1 + pairwise_distances(features, centroids) ** 2)
    return (q / q.sum(1, keepdims=True)).mean(0)


def test_every_term_of_the_adaptation_by_hand(ready, batch):
    method, params, state = ready
    rng = np.random.default_rng(2)
    valid = np.arange(16) < 9
    centroids = rng.normal(size=(16, 8)).astype(np.float32)
    memory = {'centroids': jnp.asarray(centroids), 'valid': jnp.asarray(valid)}
    result = evaluate(method.phases[1], params, state._replace(memory=memory), batch)
    terms = {name: result.scalars[name] for name in method.phases[1].terms}
    source, target = (
        jax.tree.map(np.asarray, inference(params, batch[d]['image'])) for d in ('source', 'target')
    )
    labels, pseudo = (
        np.asarray(batch['source']['identity']),
        np.asarray(batch['target']['label']),
    )
    labelled = pseudo >= 0
    p, q = (
        mean_assignment(source['classification'], centroids[valid]),
        mean_assignment(target['classification'], centroids[valid]),
    )
    expected = {
        'classification': -log_softmax(source['source_logits'])[np.arange(8), labels].mean(),
        'matching': hardest_triplets(source['matching'], labels, 0.35),
        'attributes': (
            np.linalg.norm(
                source['attention'] - np.asarray(batch['source']['attributes'])[:, :, None],
                axis=(1, 2),
            ).mean()
        ),
        # Classes that are not valid do not exist for the softmax; images without a pseudo label are
        # not counted.
        'target_classification': (
            -log_softmax(target['target_logits'][:, valid])[labelled][
                np.arange(6), pseudo[labelled]
            ].mean()
        ),
        'target_matching': hardest_triplets(target['matching'], pseudo, 0.35),
        'mmd': sum(
            np.sum((source[n].mean(0) - target[n].mean(0)) ** 2)
            for n in ('base', 'attributes', 'matching')
        ),
        'kl': 0.1 * np.sum((p - q) * (np.log(p) - np.log(q))),
    }
    assert set(terms) == set(expected)
    for name, number in expected.items():
        np.testing.assert_allclose(terms[name], number, rtol=2e-4, err_msg=name)
    np.testing.assert_allclose(result.loss, sum(expected.values()), rtol=2e-4)


def test_image_without_pseudo_label_reaches_mmd_and_kl_only(ready, batch):
    method, params, state = ready
    rng = np.random.default_rng(3)
    memory = {
        'centroids': jnp.asarray(rng.normal(size=(16, 8)), jnp.float32),
        'valid': jnp.arange(16) < 9,
    }
    state = state._replace(memory=memory)

    def terms(target):
        return evaluate(method.phases[1], params, state, {**batch, 'target': target}).scalars

    plain = terms(batch['target'])
    other_image = terms({**batch['target'], 'image': batch['target']['image'].at[7].set(2.0)})
    for name in ('target_classification', 'target_matching', 'classification', 'matching'):
        np.testing.assert_allclose(other_image[name], plain[name], rtol=1e-5, err_msg=name)
    for name in ('mmd', 'kl'):
        assert abs(other_image[name] - plain[name]) > 1e-4 * abs(plain[name]), name
    other_labels = terms(
        {**batch['target'], 'label': jnp.array([3, 3, 3, -1, 4, 4, 0, 0], jnp.int32)}
    )
    for name in ('mmd', 'kl'):
        np.testing.assert_allclose(other_labels[name], plain[name], rtol=1e-6, err_msg=name)
    assert abs(other_labels['target_matching'] - plain['target_matching']) > 1e-4


@pytest.mark.parametrize('labels', [[-1] * 8, [1, 1, 1, 1, 1, 1, 1, -1]])
def test_gradients_are_finite_with_masked_centroids_and_hardly_a_label(labels, ready, batch):
    """Masked centroids may hold anything; a batch may have no pseudo label at all."""
    method, params, state = ready
    memory = {'centroids': jnp.zeros((16, 8)).at[9:].set(jnp.inf), 'valid': jnp.arange(16) < 9}
    batch = {**batch, 'target': {**batch['target'], 'label': jnp.array(labels, jnp.int32)}}
    result = evaluate(method.phases[1], params, state._replace(memory=memory), batch)
    assert np.isfinite(result.loss)
    assert result.scalars['target_matching'] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.gradients))


def test_common_statistics_are_those_of_both_domains_as_one_batch(batch):
    method = build(batch_norm='joint', neck=True)
    params, state = method.init(jax.random.key(0))
    valid = jnp.arange(len(state.memory['valid'])) < 9
    state = state._replace(memory={**state.memory, 'valid': valid})
    base = nn.relu(
        nn.Conv(10, (3, 3), strides=(4, 4)).apply(
            {'params': params['backbone']['Conv_0']},
            jnp.concatenate([batch[d]['image'] for d in batch]),
        )
    )
    mean = 0.1 * np.asarray(base).mean((1, 2)).mean(0)
    moved = evaluate(method.phases[1], params, state, batch, gradients=False).state.statistics
    for domain in (SOURCE, TARGET):
        np.testing.assert_allclose(moved[domain]['neck']['bn']['mean'], mean, rtol=1e-4, atol=1e-6)
