"""Cluster-Contrast beside its own program, whose numbers `scripts/parity/cluster_contrast.py` kept:
losses, gradients and memory of 20 steps, Jaccard distances and clusters.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from jreid.clustering import dbscan
from jreid.losses.distances import unit
from jreid.methods.common import cluster_memory
from jreid.methods.contract import Context, State
from jreid.retrieval import jaccard

MOVES = {'all': cluster_memory.moved_by_all, 'hard': cluster_memory.moved_by_hardest}


@pytest.fixture(scope='module')
def kept(golden):
    with np.load(golden / 'cluster_contrast.npz') as arrays:
        return dict(arrays)


@pytest.mark.parametrize('update', MOVES)
def test_twenty_steps_are_the_programs(update, kept):
    term = cluster_memory.info_nce(0.05)
    # Padded by five places, as the program's memory is not.
    begun = cluster_memory.memory_of(kept['memory'], 14)

    def loss(x, vectors, label):
        outputs, batch = {'target': {'feature': unit(x)}}, {'target': {'label': label}}
        state = State({}, {**begun, 'vectors': vectors})
        return term(outputs, batch, state, Context(jax.random.key(0), jnp.float32(0)))

    def step(vectors, given):
        value, gradient = jax.value_and_grad(loss)(given[0], vectors, given[1])
        moved = MOVES[update](vectors, unit(given[0]), given[1], momentum=0.1)
        return moved, (value, gradient)

    given = (jnp.asarray(kept['x']), jnp.asarray(kept['labels']))
    vectors, (losses, gradients) = jax.jit(jax.lax.scan, static_argnums=0)(
        step, begun['vectors'], given
    )
    np.testing.assert_allclose(losses, kept[f'loss_{update}'], rtol=1e-4)
    np.testing.assert_allclose(gradients, kept[f'gradient_{update}'], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(vectors[:9], kept[f'memory_{update}'], atol=1e-4)
    assert not vectors[9:].any()
    assert np.abs(vectors[:9] - kept['memory']).max() > 0.1  # it moved


def test_distances_and_clusters_are_the_programs(kept):
    graph = jaccard(kept['features'], k1=30, k2=6, form='spcl')
    dense = np.ones(graph.shape, np.float32)
    stored = graph.tocoo()
    dense[stored.row, stored.col] = stored.data
    np.testing.assert_allclose(dense, kept['jaccard'], atol=1e-5)
    assert (kept['jaccard'] < 0.9).sum() > 500
    for eps in (0.3, 0.5, 0.6):
        theirs = DBSCAN(eps=eps, min_samples=4, metric='precomputed').fit_predict(kept['jaccard'])
        assert adjusted_rand_score(theirs, dbscan(graph, eps=eps, min_samples=4)) == 1
