"""Tests the rho rule, neighbour graphs and DBSCAN on them against dense definitions."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN

from jreid.clustering import cluster_accuracy
from jreid.methods.common import grouping


def people(seed, identities=8, images=10, width=16, noise=0.25):
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.standard_normal((identities, width)), images, axis=0)
    x = centres + noise * rng.standard_normal((identities * images, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def dense_eps(distances, rho):
    upper = distances[np.triu_indices(len(distances), 1)]
    upper = np.sort(upper[upper > 0])
    return upper[: round(rho * len(upper))].mean()


def same_partition(a, b):
    np.testing.assert_array_equal(a < 0, b < 0)
    assert cluster_accuracy(a[a >= 0], b[b >= 0]) == 1
    assert len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize('rho', [0.005, 0.03, 0.08])
def test_dagger_is_dbscan_on_euclidean_distances(rho):
    x = people(0)
    distances = cdist(x.astype(np.float64), x.astype(np.float64))
    graph = grouping.euclidean_graph(x, neighbours=40)
    eps = dense_eps(distances, rho)
    groups = grouping.group(graph, eps=0, rho=rho, min_samples=4)
    np.testing.assert_allclose(groups.eps, eps, rtol=1e-5)
    same_partition(groups.labels, DBSCAN(eps=groups.eps, min_samples=4).fit_predict(x))
    assert groups.clusters == groups.labels.max() + 1


def test_reranked_graph_is_the_dense_definition():
    x, source = people(1), people(2, identities=5)
    weight = 0.1
    squared = cdist(x.astype(np.float64), source.astype(np.float64), 'sqeuclidean').min(axis=1)
    s = 1 - np.exp(-squared)
    s /= s.max()
    graph = grouping.reranked_graph(x, source, k1=6, k2=3, source_weight=weight)
    plain = grouping.reranked_graph(x, None, k1=6, k2=3, source_weight=weight)
    row = np.repeat(np.arange(len(x)), np.diff(graph.indptr))
    np.testing.assert_allclose(
        graph.data, 0.9 * plain.data + 0.1 * (s[row] + s[graph.indices]), rtol=1e-5, atol=1e-6
    )
    dense = 0.9 + 0.1 * (s[:, None] + s[None])
    dense[row, graph.indices] = graph.data
    np.fill_diagonal(dense, 0)
    eps = dense_eps(dense, 0.05)
    assert eps < 0.9
    groups = grouping.group(graph, eps=0, rho=0.05, min_samples=4, limit=0.9)
    np.testing.assert_allclose(groups.eps, eps, rtol=1e-5)
    reference = DBSCAN(eps=groups.eps, min_samples=4, metric='precomputed').fit_predict(dense)
    same_partition(groups.labels, reference)


def test_pairs_count_once_and_zeros_not_at_all():
    # Pairs: (0,1) 0.2 stored twice, (0,2) 0 once, (1,2) 0.4 once; of 3 pairs one is zero, so rho
    # 1/2 takes the smallest of two.
    graph = csr_matrix(
        (np.float32([0.2, 0.0, 0.2, 0.4]), ([0, 0, 1, 1], [1, 2, 0, 2])), shape=(3, 3)
    )
    assert grouping.eps_by_rho(graph, 0.5) == pytest.approx(0.2)
    assert grouping.eps_by_rho(graph, 1.0) == pytest.approx(0.3)


def test_given_eps_is_kept_and_stays_below_the_limit():
    graph = grouping.euclidean_graph(people(3), neighbours=20)
    assert grouping.group(graph, eps=0.31, rho=0.01, min_samples=4).eps == 0.31
    groups = grouping.group(graph, eps=2.0, rho=0.01, min_samples=4, limit=0.9)
    assert 0.89 < groups.eps < 0.9


def test_source_distances_by_hand():
    x, source = np.float32([[0, 0], [3, 4]]), np.float32([[0, 1], [0, 5]])
    expected = np.array([1 - np.exp(-1), 1 - np.exp(-10)])
    actual = grouping.source_distances(x, source)
    np.testing.assert_allclose(actual, expected / expected[1], rtol=1e-6)
    np.testing.assert_array_equal(grouping.source_distances(x, x), [0, 0])


def test_what_cannot_be_grouped_is_an_error():
    same = grouping.euclidean_graph(np.ones((6, 4), np.float32), neighbours=3)
    with pytest.raises(ValueError, match='distance 0: the features are the same'):
        grouping.eps_by_rho(same, 0.01)
    with pytest.raises(ValueError, match='rho is 0'):
        grouping.eps_by_rho(same, 0.0)


def test_more_pairs_than_the_graph_has_give_a_warning(caplog):
    graph = grouping.euclidean_graph(people(4), neighbours=2)
    with caplog.at_level('WARNING', logger='jreid'):
        grouping.eps_by_rho(graph, 0.5)
    assert 'asks for the 1580 nearest pairs' in caplog.text


@pytest.mark.parametrize(
    'make',
    [
        lambda x: grouping.euclidean_graph(x, neighbours=40),
        lambda x: grouping.reranked_graph(x, None, k1=6, k2=3, source_weight=0),
    ],
)
def test_groups_of_centred_features_do_not_see_what_a_camera_adds(make):
    x, camera = people(3), np.tile([7, 9], 40)
    truth = np.repeat(np.arange(8), 10)
    shifted = x + np.where(camera == 7, 0, 3)[:, None].astype(np.float32)
    cameras = {}
    for centring in ('none', 'camera'):
        graph = make(grouping.centred(shifted, camera, centring))
        labels = grouping.group(graph, eps=0, rho=0.08, min_samples=4).labels
        members = [labels == label for label in range(labels.max() + 1)]
        cameras[centring] = max(len(np.unique(camera[rows])) for rows in members)
        if centring == 'camera':
            assert all(len(np.unique(truth[rows])) == 1 for rows in members)
    assert cameras == {'none': 1, 'camera': 2}
    np.testing.assert_allclose(
        grouping.centred(shifted, camera, 'camera'),
        grouping.centred(x, camera, 'camera'),
        atol=1e-5,
    )
