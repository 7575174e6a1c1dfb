"""DMTNet: its network's parts, each term of its objective against numpy, and what a refresh
hands to the trainer.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from phases import evaluate
from sklearn.metrics import pairwise_distances

from jreid import methods
from jreid.clustering import estimate_identities
from jreid.configs import variants
from jreid.configs.systems.dmtnet import PAPER
from jreid.methods import dmtnet
from jreid.methods.contract import SOURCE, TARGET, Problem, RefreshContext

SIZE = (16, 8)
PROBLEM = Problem(
    image_size=SIZE,
    source_identities=6,
    source_images=48,
    target_images=40,
    attribute_names=('hat', 'bag', 'coat'),
)
WIDTHS = {'classification_width': 8, 'attribute_width': 4, 'matching_width': 32}


class Plain(nn.Module):
    """Images -> map without batch normalisation, so that one image's features say nothing of
    another's.
    """

    @nn.compact
    def __call__(self, images, train=False):
        del train
        return nn.relu(nn.Conv(10, (3, 3), strides=(4, 4))(images))


def settings(variant='dmtnet', **edits):
    small = {
        **PAPER,
        'identities_per_batch': 4,
        'images_per_identity': 2,
        'niec_coarse': 4,
        'niec_refine': 1,
        'niec_restarts': 1,
        **WIDTHS,
    }
    config = variants.method_settings(variant, small)
    config.update(edits)
    return config


def build(variant='dmtnet', problem=PROBLEM, **edits):
    return methods.build(settings(variant, **edits), Plain(), problem)


def network(problem=PROBLEM, **edits):
    config = settings(**edits)
    fields = {field.name: config[field.name] for field in dataclasses.fields(dmtnet.Settings)}
    return dmtnet.Network(
        Plain(),
        problem.source_identities,
        16,
        len(problem.attribute_names),
        dmtnet.Settings(**fields),
    )


@pytest.fixture(scope='module')
def ready():
    """The default method with its parameters, as one compiled initialisation."""
    method = build()
    return method, *method.init(jax.random.key(0))


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
    out = jax.tree.map(np.asarray, network().apply({'params': params}, images, train=False))
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
    out = network().apply({'params': params}, batch['source']['image'], train=False)
    expected = np.linalg.norm(
        np.asarray(out['attention'] - batch['source']['attributes'][:, :, None]).reshape(8, -1),
        axis=1,
    )[kept].mean()
    np.testing.assert_allclose(result.scalars['attributes'], expected, rtol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.gradients))


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


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
    net = network()
    source, target = (
        jax.tree.map(np.asarray, net.apply({'params': params}, batch[d]['image'], train=False))
        for d in ('source', 'target')
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
    moved = evaluate(method.phases[1], params, state, batch).state.statistics
    for domain in (SOURCE, TARGET):
        np.testing.assert_allclose(moved[domain]['neck']['bn']['mean'], mean, rtol=1e-4, atol=1e-6)


# -- refresh ------------------------------------------------------------------------------------


def blobs(sizes, seed=0, first=0):
    """Well separated clusters: features [sum(sizes), 8] and the cluster of each."""
    rng = np.random.default_rng(seed)
    centres = 6 * np.random.default_rng(99).normal(size=(40, 8))[first : first + len(sizes)]
    label = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[label] + 0.1 * rng.normal(size=(len(label), 8))).astype(
        np.float32
    ), label.astype(np.int32)


def described(features, camera=None):
    return {
        'feature': features,
        'classification': features,
        'camera': np.zeros(len(features), np.int32) if camera is None else camera,
    }


def refreshed(method, params, state, sizes, *, last=False, key=0, camera=None, features=None):
    source, identity = blobs([8] * 6)
    target, truth = blobs(sizes, seed=1, first=10)
    target = target if features is None else features
    before = np.full(len(target), -1, np.int32)
    found = method.refresh(
        params,
        state,
        {**described(source), 'identity': identity},
        described(target, camera),
        RefreshContext(jax.random.key(key), before, last),
    )
    return found, target, truth


def test_refresh_gives_clusters_as_labels_and_leaves_small_ones_out():
    problem = dataclasses.replace(PROBLEM, target_images=37, target_identities=5)
    method = build('mtwnnet', problem, images_per_identity=3)
    params, state = method.init(jax.random.key(0))
    found, features, truth = refreshed(method, params, state, [9, 9, 8, 9, 2])
    assert found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.labels[truth == 4], [-1, -1])
    kept = found.labels[truth < 4]
    assert (kept >= 6).all()  # none joins a source identity
    assert len({(a, b) for a, b in zip(kept, truth[truth < 4], strict=True)}) == 4
    assert found.report == {
        'identities_estimated': 5,
        'clusters': 11,
        'clusters_kept': 4,
        'images_left_out': 2,
    }
    assert not found.tables  # the true number was given: there is no sweep
    # The shapes are those of `init`, or the compiled step could not take them.
    assert jax.tree.map(np.shape, found.state) == jax.tree.map(np.shape, state)
    assert jax.tree.map(np.shape, found.params) == jax.tree.map(np.shape, params)
    assert int(found.state.memory['valid'].sum()) == 11
    cluster = kept[truth[truth < 4] == 0][0]
    np.testing.assert_allclose(
        found.state.memory['centroids'][cluster], features[truth == 0].mean(0), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize('offset', [0.0, 40.0])
def test_classifier_of_the_target_predicts_the_nearest_mean(offset, ready):
    """Wherever the features lie, no cluster without an image of the target is predicted."""
    _, params, _ = ready
    rng = np.random.default_rng(4)
    features = (offset + rng.normal(size=(60, 8))).astype(np.float32)
    clusters = rng.choice([7, 8, 11, 12], 60)
    new = dmtnet._follow(params, features, clusters, 16)['target_classifier']
    logits = features.astype(np.float64) @ np.asarray(new['kernel'], np.float64) + np.asarray(
        new['bias'], np.float64
    )
    used = np.unique(clusters)
    means = np.stack([features[clusters == c].mean(0) for c in used])
    nearest = used[pairwise_distances(features, means).argmin(1)]
    np.testing.assert_array_equal(logits.argmax(1), nearest)
    mass = np.exp(log_softmax(logits))
    assert mass[:, np.setdiff1d(np.arange(16), used)].sum(1).max() < 0.05


@pytest.mark.slow
def test_total_is_estimated_again_only_when_asked_for_or_last():
    method = build(
        estimate_every_refresh=False, problem=dataclasses.replace(PROBLEM, target_images=40)
    )
    params, state = method.init(jax.random.key(0))
    first, _, _ = refreshed(method, params, state, [8] * 5)
    assert {'total', 'silhouette', 'chosen', 'source'} <= set(first.tables['niec'])
    # Other images, of fewer identities: the total of before is kept until the last refresh.
    second, _, _ = refreshed(method, first.params, first.state, [14, 13, 13])
    assert not second.tables
    assert (
        second.report['clusters']
        == first.report['clusters']
        == 6 + first.report['identities_estimated']
    )
    third, _, _ = refreshed(method, second.params, second.state, [14, 13, 13], last=True)
    assert third.tables
    assert third.report['identities_estimated'] < first.report['identities_estimated']
    each = build(problem=dataclasses.replace(PROBLEM, target_images=40))
    again, _, _ = refreshed(each, first.params, first.state, [14, 13, 13])
    assert again.tables


def test_sweep_is_that_of_the_clustering_room():
    method = build(problem=dataclasses.replace(PROBLEM, target_images=40))
    params, state = method.init(jax.random.key(0))
    found, target, _ = refreshed(method, params, state, [8] * 5, key=3)
    source, identity = blobs([8] * 6)
    s = settings()
    alone = estimate_identities(
        jax.random.key(3),
        source,
        identity,
        target,
        images_per_identity=s.niec_images_per_identity,
        coarse=4,
        refine=1,
        refinements=s.niec_refinements,
        rule=s.niec_rule,
        probe_fraction=0.2,
        silhouette_sample=5000,
        n_init=1,
        max_iterations=100,
    )
    np.testing.assert_array_equal(found.labels, alone.labels)
    np.testing.assert_array_equal(found.tables['niec']['total'], alone.curve.total)


def test_centring_takes_out_what_a_camera_adds():
    problem = dataclasses.replace(PROBLEM, target_images=40, target_identities=5)
    camera = np.tile([0, 1], 20).astype(np.int32)
    plain, truth = blobs([8] * 5, seed=1, first=10)
    shifted = plain + 60 * camera[:, None]
    pure = {}
    for centring in ('none', 'camera'):
        method = build('mtwnnet', problem, cluster_centring=centring)
        params, state = method.init(jax.random.key(0))
        found, _, _ = refreshed(method, params, state, [8] * 5, camera=camera, features=shifted)
        pure[centring] = all(len(set(found.labels[truth == c])) == 1 for c in range(5))
        some = found.labels.max()
        assert some >= 6  # a cluster that no source image is in
        # Centroids of L_KL are means of features without centring.
        np.testing.assert_allclose(
            found.state.memory['centroids'][some],
            shifted[found.labels == some].mean(0),
            rtol=1e-4,
            atol=1e-3,
        )
    assert pure == {'none': False, 'camera': True}


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('edits', 'problem', 'message'),
    [
        (
            {'images_per_identity': 1},
            PROBLEM,
            'K = 1 images per identity leaves the triplet loss without positives',
        ),
        (
            {'identities_per_batch': 7},
            PROBLEM,
            r'P = 7 identities cannot be drawn from the 6 of the source',
        ),
        ({'matching_width': 12}, PROBLEM, 'matching_width 12 leaves nothing for F_id'),
        ({'matching_width': 10}, PROBLEM, 'matching_width 10 leaves nothing for F_id'),
        (
            {'matching_width': 8},
            dataclasses.replace(PROBLEM, attribute_names=()),
            'matching_width 8 leaves nothing',
        ),
        ({'given_identities': True}, PROBLEM, 'needs the true number of target identities'),
        (
            {'cluster_centring': 'cameras'},
            PROBLEM,
            "cluster_centring is 'cameras'; expected 'camera' or 'none'",
        ),
        ({'batch_norm': 'splitt'}, PROBLEM, "batch_norm is 'splitt'; expected 'split' or 'joint'"),
        ({'mmd': 'lineal'}, PROBLEM, "mmd is 'lineal'; expected 'linear' or 'rbf'"),
        ({'cluster_feature': 'match'}, PROBLEM, "cluster_feature is 'match'; expected"),
        (
            {'given_identities': True},
            dataclasses.replace(PROBLEM, target_identities=0),
            'needs the true number of target identities',
        ),
        (
            {},
            dataclasses.replace(PROBLEM, source_identities=1),
            'the source has 1 identities; expected at least 2',
        ),
        (
            {'identities_per_batch': 1},
            PROBLEM,
            'P = 1 identities per batch leaves the triplet loss without negatives',
        ),
        ({'alpha': 0.0}, PROBLEM, 'alpha is 0.0'),
        (
            {'niec_rule': 'means'},
            PROBLEM,
            "niec_rule is 'means'; expected 'witnesses' or 'mean' or 'accuracy' or 'silhouette'",
        ),
        (
            {'niec_images_per_identity': (40.0, 4.0)},
            PROBLEM,
            r'niec_images_per_identity is \(40.0, 4.0\)',
        ),
        ({'niec_probe_fraction': 1.0}, PROBLEM, 'niec_probe_fraction is 1.0'),
        ({'niec_restarts': 0}, PROBLEM, 'niec_restarts is 0; expected 1 or more'),
        ({'relabel_every': 0}, PROBLEM, 'relabel_every is 0; expected 1 or more'),
        (
            {'niec_silhouette_sample': 0},
            PROBLEM,
            'niec_silhouette_sample 0; expected 0 and 1, or more',
        ),
        (
            {'identification': False, 'target_classification': False},
            dataclasses.replace(PROBLEM, attribute_names=()),
            'F_mat has no part',
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(edits, problem, message):
    with pytest.raises(ValueError, match=message):
        build(problem=problem, **edits)


def test_width_of_one_beside_the_other_parts_is_enough():
    params, _ = jax.eval_shape(build(matching_width=13).init, jax.random.key(0))
    assert params['identification']['kernel'].shape == (10, 1)


def test_unknown_method_and_settings_are_named():
    with pytest.raises(
        ValueError,
        match="config.method.name is 'dmtnett' .did you mean 'dmtnet'.*expected one of .*dmtnet",
    ):
        methods.build({'name': 'dmtnett'}, Plain(), PROBLEM)
    edited = {**settings().to_dict(), 'margins': 1.0}
    edited.pop('margin')
    with pytest.raises(
        ValueError, match=r"dmtnet has no setting 'margins' \(did you mean 'margin'\?\)"
    ):
        methods.build(edited, Plain(), PROBLEM)
