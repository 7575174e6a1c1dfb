"""What a refresh of DMTNet hands to the trainer, and the settings that it refuses."""

import dataclasses

import jax
import numpy as np
import pytest
from dmtnet_case import PROBLEM, Plain, build, log_softmax, settings, whole
from sklearn.metrics import pairwise_distances

from jreid import methods
from jreid.clustering import Estimate, estimate_identities
from jreid.methods import dmtnet
from jreid.methods.contract import RefreshContext


@pytest.fixture(scope='module')
def ready():
    return whole()


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
    problem = dataclasses.replace(PROBLEM, target_images=40, target_identities=5)
    method = build('mtwnnet', problem, images_per_identity=3)
    params, state = method.init(jax.random.key(0))
    found, features, truth = refreshed(method, params, state, [10, 10, 9, 9, 2])
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
    assert not found.useless
    assert not found.tables  # the true number was given: there is no sweep
    # The shapes are those of `init`, or the compiled step could not take them.
    assert jax.tree.map(np.shape, found.state) == jax.tree.map(np.shape, state)
    assert jax.tree.map(np.shape, found.params) == jax.tree.map(np.shape, params)
    assert int(found.state.memory['valid'].sum()) == 11
    cluster = kept[truth[truth < 4] == 0][0]
    np.testing.assert_allclose(
        found.state.memory['centroids'][cluster], features[truth == 0].mean(0), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(('sizes', 'kept'), [([2] * 20, 0), ([38, 2], 1)])
def test_too_few_clusters_to_learn_from_train_nothing_and_say_so(sizes, kept, caplog):
    problem = dataclasses.replace(PROBLEM, target_images=40, target_identities=len(sizes))
    method = build('mtwnnet', problem, images_per_identity=3)
    params, state = method.init(jax.random.key(0))
    found, _, _ = refreshed(method, params, state, sizes)
    assert found.useless
    assert found.report['clusters_kept'] == kept
    assert f'{kept} of {len(sizes)} target clusters have method.images_per_identity (3)' in (
        caplog.text
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


@pytest.mark.parametrize(
    ('before', 'agreed'),
    [([], 5), ([8], 7), ([4], 5), ([9, 7], 7), ([1, 1, 5], 3), ([30, 2, 4, 4], 4)],
)
def test_number_is_the_median_of_the_sweeps(before, agreed, monkeypatch):
    problem = dataclasses.replace(PROBLEM, target_images=40)
    edits = {'problem': problem, 'adapt_epochs': 10, 'relabel_every': 2}
    method = build(**edits, count_from='sweeps')
    params, state = method.init(jax.random.key(0))
    known = np.zeros(5, np.int32)
    known[: len(before)] = before
    state = state._replace(memory={**state.memory, 'counts': known})

    labels, centroids = np.arange(40) % 5 + 6, np.zeros((11, 8), np.float32)
    swept = Estimate(5, labels, centroids, None, np.repeat(np.arange(6), 8), 11)
    monkeypatch.setattr(dmtnet.niec, 'estimate', lambda *arguments, **options: swept)
    monkeypatch.setattr(dmtnet.niec, 'table', lambda estimate: {})
    found, _, _ = refreshed(method, params, state, [8] * 5)
    assert found.report['identities_estimated'] == agreed
    # The labels are the sweep's own.
    assert found.report['clusters'] == 11 == found.state.memory['valid'].sum()
    after = found.state.memory['counts']
    assert after.shape == (5,)
    assert after[after > 0].tolist() == [*before, 5]
    last = build(**edits, count_from='last')
    found, _, _ = refreshed(last, params, state, [8] * 5)
    assert found.report['identities_estimated'] == 5


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
        (
            {'matching_width': 12},
            PROBLEM,
            'method.matching_width is 12, which leaves nothing for F_id',
        ),
        (
            {'matching_width': 10},
            PROBLEM,
            'method.matching_width is 10, which leaves nothing for F_id',
        ),
        (
            {'matching_width': 8},
            dataclasses.replace(PROBLEM, attribute_names=()),
            'method.matching_width is 8, which leaves nothing',
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
        ({'alpha': 0.0}, PROBLEM, 'method.alpha is 0.0; expected a number above 0'),
        (
            {'niec_rule': 'means'},
            PROBLEM,
            "niec_rule is 'means'; expected 'witnesses' or 'mean' or 'accuracy' or 'silhouette'",
        ),
        (
            {'niec_images_per_identity': (40.0, 4.0)},
            PROBLEM,
            r'method.niec_images_per_identity is \(40.0, 4.0\)',
        ),
        (
            {'niec_images_per_identity': (0.5, 40.0)},
            PROBLEM,
            r'method.niec_images_per_identity is \(0.5, 40.0\); expected 1 or more in each place',
        ),
        (
            {'niec_probe_splits': -1},
            PROBLEM,
            '^method.niec_probe_splits is -1; expected 0 or more$',
        ),
        ({'niec_probe_fraction': 1.0}, PROBLEM, 'niec_probe_fraction is 1.0'),
        ({'niec_restarts': 0}, PROBLEM, 'niec_restarts is 0; expected 1 or more'),
        ({'relabel_every': 0}, PROBLEM, 'relabel_every is 0; expected 1 or more'),
        (
            {'niec_silhouette_sample': 0},
            PROBLEM,
            'method.niec_silhouette_sample is 0; expected 1 or more',
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
