"""Cluster-Contrast beside its own program, of which `scripts/parity/cluster_contrast_epoch.py` kept
an epoch of 20 steps.
"""

import jax
import numpy as np
import official
import pytest
from sklearn.metrics import adjusted_rand_score

from jreid.methods.cluster_contrast import cluster_contrast
from jreid.methods.contract import SOURCE, TARGET, Problem, RefreshContext, State
from jreid.methods.settings.cluster_contrast import Settings
from jreid.models.small_cnn import SmallCNN

STEPS = 20
SETTINGS = Settings(
    source_epochs=0,
    contrast_epochs=1,
    contrast_steps=STEPS,
    contrast_identities=4,
    contrast_images=4,
    contrast_boundaries=(),
    k1=10,
    k2=4,
)


@pytest.fixture(scope='module')
def kept(golden):
    with np.load(golden / 'cluster_contrast_epoch.npz') as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def begun(kept):
    """The system as its first epoch begins, with the program's weights, clustered."""
    images, camera = kept['target'], kept['camera']
    method = cluster_contrast(SmallCNN((16,)), Problem((12, 6), 0, 0, len(images)), SETTINGS)
    params, state = official.zeros(jax.eval_shape(method.init, jax.random.key(0)))
    params |= official.part(kept, 'params')
    statistics = official.part(kept, 'statistics')
    state = State({SOURCE: statistics, TARGET: statistics}, state.memory)
    describe = jax.jit(method.describe, static_argnums=3)
    found = describe(params, state, official.PLAIN.fixed(images), TARGET)
    described = {'feature': np.asarray(found['feature']), 'camera': camera}
    context = RefreshContext(jax.random.key(0), np.full(len(images), -1), last=False)
    return method, method.refresh(params, state, None, described, context)


def test_clusters_and_memory_of_the_first_epoch_are_the_programs(begun, kept):
    labels = begun[1].labels
    np.testing.assert_array_equal(labels < 0, kept['label'] < 0)
    assert adjusted_rand_score(kept['label'], labels) == 1
    clusters = len(kept['memory'])
    assert clusters >= 5
    # Both number clusters by their first core image.
    np.testing.assert_array_equal(labels, kept['label'])
    vectors = begun[1].state.memory['vectors']
    np.testing.assert_allclose(vectors[:clusters], kept['memory'], atol=1e-5)


def test_twenty_steps_are_the_programs(begun, kept):
    method, found = begun
    batches = [
        {TARGET: {'image': kept['target'][rows], 'label': found.labels[rows]}}
        for rows in kept['rows']
    ]
    losses, now = official.steps_taken(method.phases[0], found.params, found.state, batches, STEPS)
    np.testing.assert_allclose(losses['loss'], kept['loss'], rtol=1e-4)
    vectors = now.state.memory['vectors'][: len(kept['memory'])]
    np.testing.assert_allclose(vectors, kept['memory_after'], atol=1e-4)
    assert np.abs(vectors - kept['memory']).max() > 0.1  # it moved
