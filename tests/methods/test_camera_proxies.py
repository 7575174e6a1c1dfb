"""Tests the proxies per camera against loops in numpy, written after CAP's program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cluster_contrast import built, described, normal, refreshed, unit

from jreid.methods.common import camera_proxies
from jreid.methods.contract import Context, State

CLUSTER = np.array([0, 0, 1, 1, 2, 2, 2, 3], np.int32)
CAMERA = np.array([0, 1, 0, 2, 0, 1, 2, 1], np.int32)
"""Of eight proxies."""
PROXY = np.array([0, 1, 0, 4, -1, 6, 3, 7, 2, 5])
"""Of ten images; the fifth is noise."""


@pytest.fixture(scope='module')
def batch():
    seen = np.where(PROXY < 0, 0, CAMERA[PROXY])
    clusters = np.where(PROXY < 0, -1, CLUSTER[PROXY])
    return {'label': np.stack([clusters, PROXY], 1), 'camera': seen}


VECTORS, FEATURES = unit(normal(0, 8, 5)), unit(normal(1, 10, 5))


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def reference(kind, batch, *, temperature=0.07, negatives=2):
    """Per camera of the batch the mean over its images, and the sum of these."""
    total = 0.0
    sims = FEATURES.astype(np.float64) @ VECTORS.T.astype(np.float64)
    known = batch['label'][:, 0] >= 0
    for camera in np.unique(batch['camera'][known]):
        losses = []
        for i in np.flatnonzero((batch['camera'] == camera) & known):
            cluster, proxy = batch['label'][i]
            if kind == 'intra':
                seen = np.flatnonzero(camera == CAMERA)
                losses.append(-log_softmax(sims[i, seen] / temperature)[seen.tolist().index(proxy)])
            else:
                own = np.flatnonzero(cluster == CLUSTER)
                other = np.flatnonzero(cluster != CLUSTER)
                hardest = other[np.argsort(sims[i, other])[-negatives:]]
                kept = np.concatenate([own, hardest])
                losses.append(-log_softmax(sims[i, kept] / temperature)[: len(own)].mean())
        total += np.mean(losses)
    return total


def computed(term, feature, batch, *, progress=0.5, padding=3):
    nobody = np.zeros(padding, np.int32)
    memory = {
        'vectors': np.concatenate([VECTORS, np.ones((padding, 5), np.float32)]),
        'valid': np.arange(8 + padding) < 8,
        'cluster': np.concatenate([CLUSTER, nobody]),
        'camera': np.concatenate([CAMERA, nobody]),
    }
    memory = jax.tree.map(jnp.asarray, memory)
    given = {'target': {name: jnp.asarray(x) for name, x in batch.items()}}
    context = Context(jax.random.key(0), jnp.float32(progress))
    return term({'target': {'feature': feature}}, given, State({}, memory), context)


TERMS = {
    'intra': camera_proxies.intra_camera(0.07),
    'cross': camera_proxies.cross_camera(0.07, weight=1.0, negatives=2, begin=0.1),
}


@pytest.mark.parametrize('kind', TERMS)
def test_losses_are_those_of_loops_and_padding_has_no_part(kind, batch):
    both = jax.jit(jax.value_and_grad(lambda x: computed(TERMS[kind], x, batch)))
    found, gradient = jax.tree.map(np.asarray, both(FEATURES))
    np.testing.assert_allclose(found, reference(kind, batch), rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert not gradient[4].any()  # noise
    assert (np.abs(np.delete(gradient, 4, 0)).max(1) > 0).all()


def test_loss_across_cameras_begins_late_and_sees_no_more_negatives_than_there_are(batch):
    feature = jnp.asarray(FEATURES)
    half = camera_proxies.cross_camera(0.07, weight=0.5, negatives=50, begin=0.1)
    before, found = jax.jit(
        lambda x: [
            computed(TERMS['cross'], x, batch, progress=0.09),
            computed(half, x, batch, progress=0.1),
        ]
    )(feature)
    assert before == 0
    np.testing.assert_allclose(found, 0.5 * reference('cross', batch, negatives=8), rtol=1e-5)


def test_a_proxy_per_cluster_and_camera():
    clusters, cameras = np.array([1, 0, -1, 1, 1, 0]), np.array([2, -1, 0, 0, 2, -1])
    found = camera_proxies.proxies_of(clusters, cameras)
    assert found.labels.tolist() == [2, 0, -1, 1, 2, 0]
    assert found.cluster.tolist() == [0, 1, 1]
    assert found.camera.tolist() == [-1, 0, 2]
    nothing = camera_proxies.proxies_of(np.full(3, -1), np.zeros(3, int))
    assert nothing.labels.tolist() == [-1, -1, -1]
    assert len(nothing.cluster) == len(nothing.camera) == 0


@pytest.mark.parametrize('noise', [False, True])
def test_refresh_gives_two_labels_and_the_means_of_the_proxies(noise):
    method = built('cluster-contrast-cap', **({'min_samples': 30, 'eps': 0.01} if noise else {}))
    assert method.label_columns == 2
    assert set(method.phases[0].terms) == {'intra_camera', 'cross_camera'}
    target = described(0, 5)
    found = refreshed(method, target)
    memory = found.state.memory
    begun = method.init(jax.random.key(0))[1].memory
    assert {name: x.shape for name, x in memory.items()} == {
        name: x.shape for name, x in begun.items()
    }
    assert found.useless == noise
    assert found.labels.shape == (40, 2)
    if noise:
        assert (found.labels == -1).all()
        return
    assert memory['valid'].sum() == 10  # five people, two cameras
    for proxy in range(10):
        rows = found.labels[:, 1] == proxy
        assert len(np.unique(found.labels[rows, 0])) == len(np.unique(target['camera'][rows])) == 1
        mean = unit(target['feature'][rows].mean(0))
        np.testing.assert_allclose(memory['vectors'][proxy], mean, rtol=1e-5)
        assert memory['camera'][proxy] == target['camera'][rows][0]
        assert memory['cluster'][proxy] == found.labels[rows][0, 0]
