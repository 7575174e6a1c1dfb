"""Tests Cluster-Contrast: its memory against loops in numpy, its clusters, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from preparing import still

from jreid import clustering, methods
from jreid.configs import base
from jreid.engine.state import create
from jreid.engine.steps import train_step
from jreid.methods.common import cluster_memory, niec
from jreid.methods.contract import Context, Problem, RefreshContext, State

PROBLEM = Problem((8, 4), source_identities=6, source_images=24, target_images=40)
SMALL = {
    'contrast_identities': 3,
    'contrast_images': 4,
    'contrast_steps': 2,
    'source_epochs': 0,
    'k1': 8,
    'k2': 2,
}


class Maps(nn.Module):
    """Stands for a backbone: images are their own map, through one layer."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.relu(nn.Dense(5)(images))


def built(variant='cluster-contrast', problem=PROBLEM, **changes):
    settings = base.get_config(variant).method
    settings.update({**SMALL, **changes})
    return methods.build(settings, Maps(), problem)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def one_by_one(vectors, features, labels, momentum):
    """The program's update: each image in turn."""
    vectors = vectors.astype(np.float64).copy()
    for x, y in zip(features, labels, strict=True):
        if y >= 0:
            vectors[y] = momentum * vectors[y] + (1 - momentum) * x
            vectors[y] /= np.linalg.norm(vectors[y])
    return vectors


def by_the_hardest(vectors, features, labels, momentum):
    """The program's hard update: per cluster the image with the least product."""
    new = vectors.astype(np.float64).copy()
    for y in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == y)
        hardest = rows[np.argmin(features[rows] @ vectors[y])]
        new[y] = momentum * new[y] + (1 - momentum) * features[hardest]
        new[y] /= np.linalg.norm(new[y])
    return new


LABELS = np.array([2, 2, 0, 2, -1, 0, 4, 0, 2, -1, 4, 2])
MOVES = {
    'all': (cluster_memory.moved_by_all, one_by_one),
    'hard': (cluster_memory.moved_by_hardest, by_the_hardest),
}


@pytest.mark.parametrize('labels', [LABELS, LABELS[::-1].copy(), np.full(12, -1)])
@pytest.mark.parametrize('momentum', [0.1, 0.8, 1.0])
@pytest.mark.parametrize('update', MOVES)
def test_update_is_that_of_a_loop_over_the_batch(update, momentum, labels):
    vectors, features = unit(normal(0, 6, 5)), unit(normal(1, 12, 5))
    move, reference = MOVES[update]
    found = np.asarray(jax.jit(move)(vectors, features, labels.astype(np.int32), momentum=momentum))
    np.testing.assert_allclose(found, reference(vectors, features, labels, momentum), atol=2e-6)
    untouched = np.setdiff1d(np.arange(6), labels)
    np.testing.assert_array_equal(found[untouched], vectors[untouched])


def test_of_equally_hard_images_the_first_moves_the_vector():
    vectors = np.float32([[1.0, 0.0, 0.0]])
    features = np.float32([[0.6, 0.8, 0.0], [0.6, 0.0, 0.8]])
    move = jax.jit(cluster_memory.moved_by_hardest)
    found = move(vectors, features, np.zeros(2, np.int32), momentum=0.0)
    np.testing.assert_allclose(found, features[:1], atol=1e-6)


def contrast(feature, vectors, labels, valid):
    term = cluster_memory.info_nce(0.05)
    state = State({}, {'vectors': jnp.asarray(vectors), 'valid': jnp.asarray(valid)})
    batch = {'target': {'label': jnp.asarray(labels)}}
    context = Context(jax.random.key(0), jnp.float32(0))
    return term({'target': {'feature': feature}}, batch, state, context)


def test_loss_and_gradient_are_those_of_infonce_and_padding_has_no_part():
    vectors, features = unit(normal(0, 5, 7)).astype(np.float64), unit(normal(1, 4, 7))
    labels = np.array([3, 0, 4, 3])
    logits = features.astype(np.float64) @ vectors.T / 0.05
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = -np.log(p[np.arange(4), labels]).mean()
    gradient = (p - np.eye(5)[labels]) @ vectors / 0.05 / 4
    padded = np.concatenate([vectors, 9 * np.ones((3, 7))]).astype(np.float32)
    loss, found = jax.jit(jax.value_and_grad(contrast))(
        features, padded, labels.astype(np.int32), np.arange(8) < 5
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-5)


def test_clusters_beyond_the_memory_are_noise_the_smallest_first(caplog):
    labels = np.array([7, 7, 7, -1, 3, 5, 5, 3, 3, 9])
    expected = [2, 2, 2, -1, 0, 1, 1, 0, 0, 3]
    assert cluster_memory.fitted(labels, 4).tolist() == expected
    assert not caplog.text
    assert cluster_memory.fitted(labels, 2).tolist() == [1, 1, 1, -1, 0, -1, -1, 0, 0, -1]
    assert '4 clusters for 2 places of the memory' in caplog.text


def described(seed, people, images=8):
    """Unit features around one centre per person."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(people, 5)), images, axis=0)
    features = unit((centres + 0.02 * rng.normal(size=centres.shape)).astype(np.float32))
    return {
        'feature': features,
        'camera': np.arange(len(features), dtype=np.int32) % 2,
        'identity': np.repeat(np.arange(people, dtype=np.int32), images),
    }


def refreshed(method, target, source=None):
    params, state = method.init(jax.random.key(0))
    context = RefreshContext(jax.random.key(1), np.full(40, -1), False)
    return method.refresh(params, state, source, target, context)


def test_refresh_gives_clusters_and_their_means():
    target = described(0, 5)
    target['feature'][3] = unit(normal(9, 5))  # like nobody
    found = refreshed(built(), target)
    labels = found.labels
    assert (labels[3], labels.dtype) == (-1, np.int32)
    seen = {pair for pair in zip(target['identity'], labels, strict=True) if pair[1] >= 0}
    assert len(seen) == 5
    assert found.report == {'identities_estimated': 5.0, 'noise': 1.0}
    memory = found.state.memory
    assert memory['vectors'].shape == (10, 5)  # 40 images in clusters of 4
    assert memory['valid'].tolist() == [True] * 5 + [False] * 5
    for cluster in range(5):
        mean = target['feature'][labels == cluster].mean(0)
        np.testing.assert_allclose(memory['vectors'][cluster], unit(mean), rtol=1e-5)
    assert not memory['vectors'][5:].any()
    assert not found.useless


def test_nothing_but_noise_trains_nothing_and_says_what_to_change(caplog):
    target = described(0, 5)
    found = refreshed(built(min_samples=30, eps=0.01), target)
    assert found.useless
    assert (found.labels == -1).all()
    assert not found.state.memory['valid'].any()
    assert 'nothing but noise in 40 images' in caplog.text
    assert 'a larger method.eps (0.01) or a smaller method.min_samples (30)' in caplog.text


def test_one_cluster_trains_nothing_and_says_what_to_change(caplog):
    target = {**described(0, 5), 'feature': described(0, 1, images=40)['feature']}
    found = refreshed(built(k1=39, eps=0.9), target)
    assert found.report['identities_estimated'] == 1
    assert found.useless
    assert 'clustering found one cluster in 40 images: this epoch trains nothing' in caplog.text
    assert 'a smaller method.eps (0.9) or a larger method.min_samples (4)' in caplog.text


def test_niec_counts_with_the_source_in_place_of_dbscan(monkeypatch):
    """The sweep itself is tested in tests/clustering."""
    method = built('cluster-contrast-niec')
    assert method.refresh_reads == ('source', 'target')
    source, target = described(1, 6, images=4), described(0, 5)
    source['identity'][0] = -1  # an image of nobody known
    # The first person joined a source identity; three images of the last are a cluster alone.
    clusters = np.where(target['identity'] == 0, 2, 6 + target['identity'])
    clusters[-3:] = 12

    def estimate(key, features, identity, new, cameras, settings, *, progress):
        assert (len(features), len(new), identity.min()) == (23, 40, 0)
        np.testing.assert_array_equal(new, target['feature'])
        curve = clustering.Curve(np.arange(3), np.zeros(3), np.zeros(3))
        return clustering.Estimate(7, clusters, np.zeros((13, 5)), curve)

    monkeypatch.setattr(niec, 'estimate', estimate)
    found = refreshed(method, target, source)
    assert set(found.tables['niec']) == {'total', 'accuracy', 'silhouette', 'chosen', 'source'}
    expected = np.where(np.arange(40) < 37, target['identity'], -1)
    np.testing.assert_array_equal(found.labels, expected)
    assert found.report == {'identities_estimated': 5.0, 'noise': 3.0}


@pytest.fixture(scope='module')
def step_of():
    """(method, phase, optimizer, step) of the contrast phase."""
    method = built()
    phase = method.phases[0]
    optimizer = phase.optimizer(4)
    return method, phase, optimizer, train_step(phase, optimizer, still(), start=0, steps=4)


def test_another_number_of_clusters_compiles_nothing_and_moves_the_memory(step_of):
    method, phase, optimizer, step = step_of
    params, state = method.init(jax.random.key(0))
    images = np.random.default_rng(3).integers(0, 256, (12, 8, 4, 3), np.uint8)
    for clusters in (3, 7):
        vectors = np.zeros((10, 5), np.float32)
        vectors[:clusters] = unit(normal(clusters, clusters, 5))
        valid = np.arange(10) < clusters
        begun = state._replace(
            memory={'vectors': jnp.asarray(vectors), 'valid': jnp.asarray(valid)}
        )
        labels = np.repeat(np.arange(3) + clusters - 3, 4).astype(np.int32)
        batch = {'target': {'image': images, 'label': labels, 'row': labels, 'camera': labels}}
        # A step donates its state.
        now = jax.tree.map(jnp.array, create(params, begun, optimizer))
        after, values = step.run(now, batch, jax.random.key(0), {})
        assert np.isfinite(values).all()
        moved = np.asarray(after.state.memory['vectors'])
        touched = np.unique(labels)
        assert (np.abs(moved - vectors)[touched].max(1) > 1e-3).all()
        rest = np.setdiff1d(np.arange(10), touched)
        np.testing.assert_array_equal(moved[rest], vectors[rest])
        np.testing.assert_allclose(np.linalg.norm(moved[touched], axis=1), 1, rtol=1e-5)
    assert step.run._cache_size() == 1


def test_phases_by_variant():
    alone, after = built(), built('bl-cluster-contrast', source_epochs=2, identities_per_batch=4)
    assert [phase.name for phase in alone.phases] == ['contrast']
    assert [phase.name for phase in after.phases] == ['source', 'contrast']
    parts = {'backbone', 'gem', 'neck'}
    assert set(alone.init(jax.random.key(0))[0]) == parts
    assert set(after.init(jax.random.key(0))[0]) == {*parts, 'classifier'}
    nobody = Problem((8, 4), source_identities=0, source_images=0, target_images=40)
    assert set(built(problem=nobody).init(jax.random.key(0))[0]) == parts


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'temperature': 0.0}, 'method.temperature is 0.0; expected a number above 0'),
        ({'eps': 1.0}, 'method.eps is 1.0; expected a Jaccard distance between 0 and 1'),
        ({'clustering': 'niec', 'niec_probe_fraction': 1.0}, 'niec_probe_fraction is 1.0'),
        ({'k2': 9}, r'method.k2 is 9; expected at most method.k1 \(8\)'),
        ({'update': 'soft'}, "method.update is 'soft'; expected 'all' or 'hard'"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        built(**changes)
