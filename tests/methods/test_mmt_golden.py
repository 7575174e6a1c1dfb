"""MMT beside its own programs, of which `scripts/parity/mmt.py` kept an epoch of 20 steps with
k-means, and DBSCAN's labels.
"""

import dataclasses

import jax
import numpy as np
import official
import pytest
from flax import traverse_util
from sklearn.metrics import adjusted_rand_score

from jreid.methods.contract import TARGET, Problem, RefreshContext, State
from jreid.methods.mmt import mmt
from jreid.methods.mmt_networks import named
from jreid.methods.settings.mmt import Settings
from jreid.models.small_cnn import SmallCNN

STEPS, CLUSTERS = 20, 12
SETTINGS = Settings(
    source_epochs=0,
    adapt_epochs=1,
    adapt_steps=STEPS,
    identities_per_batch=4,
    images_per_identity=4,
    clusters=CLUSTERS,
)
PARTS = {'': 'first', '_2': 'second'}


@pytest.fixture(scope='module')
def kept(golden):
    with np.load(golden / 'mmt.npz') as arrays:
        return dict(arrays)


def built(count, **changes):
    """The system for so many images, and parameters and a state of zeros."""
    problem = Problem((12, 6), 0, 0, count)
    method = mmt(SmallCNN((16,)), problem, dataclasses.replace(SETTINGS, **changes))
    return method, *official.zeros(jax.eval_shape(method.init, jax.random.key(0)))


def refreshed(method, params, state, described):
    count = len(described['camera'])
    context = RefreshContext(jax.random.key(0), np.full(count, -1), last=False)
    return method.refresh(params, state, None, described, context)


@pytest.fixture(scope='module')
def begun(kept):
    """The system as its first epoch begins, with the program's weights, clustered."""
    images, camera = kept['target'], kept['camera']
    method, params, state = built(len(images))
    statistics = dict(state.statistics)
    for suffix, name in PARTS.items():
        params |= named(official.part(kept, f'{name}/params'), suffix)
        tree = named(official.part(kept, f'{name}/statistics'), suffix)
        statistics[TARGET] = {**statistics[TARGET], **tree}
    params, state = method.phases[0].start(params, State(statistics, state.memory))
    describe = jax.jit(method.describe, static_argnums=3)
    found = describe(params, state, official.PLAIN.fixed(images), TARGET)
    described = {name: np.asarray(x) for name, x in found.items()} | {'camera': camera}
    return method, refreshed(method, params, state, described)


@pytest.mark.slow
def test_kmeans_labels_are_the_programs(begun, kept):
    assert adjusted_rand_score(kept['label'], begun[1].labels) == 1


@pytest.mark.slow
def test_twenty_steps_are_the_programs(begun, kept):
    method, found = begun
    batches = [
        {TARGET: {'image': kept['target'][rows], 'label': found.labels[rows]}}
        for rows in kept['rows']
    ]
    losses, now = official.steps_taken(
        method.phases[0],
        found.params,
        found.state,
        batches,
        STEPS,
        preparation=official.Mirroring(),
    )
    weights = {'identity': 0.5, 'triplet': 0.2, 'soft_identity': 0.5, 'soft_triplet': 0.8}
    for name, weight in weights.items():
        np.testing.assert_allclose(losses[name], weight * kept[f'loss_{name}'], rtol=1e-4)
    # Cluster by cluster, the program's number of ours.
    number = np.zeros(CLUSTERS, int)
    number[found.labels] = kept['label']
    teachers = traverse_util.flatten_dict(dict(now.state.memory['teachers']), sep='/')
    before = traverse_util.flatten_dict(dict(found.params), sep='/')
    for suffix, name in PARTS.items():
        after = named(official.part(kept, f'{name}_after'), suffix)
        after = traverse_util.flatten_dict(after, sep='/')
        after.pop(f'neck{suffix}/bn/bias')  # stays 0 in the program
        assert len(after) == 5
        for place, theirs in after.items():
            ours = teachers[place]
            if 'classifier' in place:
                theirs = theirs[:, number]
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
            assert np.abs(ours - before[place]).max() > 1e-3  # it moved


def test_dbscan_labels_are_the_programs(kept):
    first, second = kept['first_features'], kept['second_features']
    method, params, state = built(len(first), clustering='dbscan', clusters=0)
    described = {'first': first, 'second': second, 'camera': np.zeros(len(first), np.int32)}
    found = refreshed(method, params, state, described)
    # eps is a mean of distances above 0, and the program rounds that of images with the same
    # neighbours to 0 or to 6e-8.
    np.testing.assert_allclose(found.report['eps'], kept['dbscan_eps'], rtol=0.03)
    assert adjusted_rand_score(kept['dbscan_label'], found.labels) == 1
    assert found.labels.max() + 1 == kept['dbscan_label'].max() + 1 == 5
