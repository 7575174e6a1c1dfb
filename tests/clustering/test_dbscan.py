"""DBSCAN against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from jreid.clustering import dbscan


def padded(x: np.ndarray, radius: float, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds all neighbours within the radius, padded with -1."""
    distance, index = NearestNeighbors(radius=radius).fit(x).radius_neighbors(x)
    neighbours, distances = np.full((len(x), width), -1), np.full((len(x), width), np.nan)
    for i, row in enumerate(index):
        neighbours[i, : len(row)], distances[i, : len(row)] = row, distance[i]
    return neighbours, distances


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), eps=st.floats(0.05, 0.5), min_samples=st.integers(1, 8))
def test_equals_sklearn_on_points(seed, eps, min_samples):
    x = np.random.default_rng(seed).uniform(size=(80, 2))
    expected = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(x)
    neighbours, distances = padded(x, 0.6, 80)
    # sklearn numbers clusters by their first core sample too, and gives a border sample to the
    # first one that reaches it.
    np.testing.assert_array_equal(
        dbscan(neighbours, distances, eps=eps, min_samples=min_samples), expected
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), density=st.floats(0.01, 0.2), min_samples=st.integers(1, 6))
def test_equals_sklearn_on_random_sparse_graphs(seed, density, min_samples):
    rng = np.random.default_rng(seed)
    n = 60
    upper = np.triu(np.where(rng.random((n, n)) < density, rng.uniform(0.1, 1, (n, n)), 0), 1)
    expected = DBSCAN(eps=0.6, min_samples=min_samples, metric='precomputed').fit_predict(
        csr_matrix(upper + upper.T)
    )
    np.testing.assert_array_equal(
        dbscan(csr_matrix(upper + upper.T), eps=0.6, min_samples=min_samples), expected
    )
    # One side of an edge is enough.
    np.testing.assert_array_equal(
        dbscan(csr_matrix(upper), eps=0.6, min_samples=min_samples), expected
    )


def test_by_hand():
    """A chain of three, a border sample between two clusters, and noise."""
    x = np.array([0.0, 1, 2, 3.5, 5, 6, 7, 20])
    neighbours = np.tile(np.arange(8), (8, 1))
    labels = dbscan(neighbours, abs(x[:, None] - x), eps=1.5, min_samples=3)
    assert labels.tolist() == [0, 0, 0, 0, 0, 0, 0, -1]
    labels = dbscan(neighbours, abs(x[:, None] - x), eps=1.5, min_samples=4)
    assert labels.tolist() == [-1] * 8
    labels = dbscan(neighbours, abs(x[:, None] - x), eps=1.0, min_samples=3)
    assert labels.tolist() == [0, 0, 0, -1, 1, 1, 1, -1]


@pytest.mark.parametrize('times', [128, 255, 256])
def test_an_edge_that_is_stored_often_stays_one(times):
    for lists in ([[1] * times, [0] * times], [[1] * times, [-1] * times]):
        near = np.array(lists)
        np.testing.assert_array_equal(
            dbscan(near, np.full(near.shape, 0.5), eps=1.0, min_samples=2), [0, 0]
        )
        assert (dbscan(near, np.full(near.shape, 0.5), eps=1.0, min_samples=3) == -1).all()


def test_self_counts_once_whether_listed_or_not():
    with_self = dbscan(
        np.array([[0, 1], [1, 0]]), np.array([[0, 0.1], [0, 0.1]]), eps=1, min_samples=2
    )
    without = dbscan(np.array([[1], [0]]), np.array([[0.1], [0.1]]), eps=1, min_samples=2)
    assert with_self.tolist() == without.tolist() == [0, 0]
    assert dbscan(
        np.array([[0, 1], [1, 0]]), np.array([[0, 0.1], [0, 0.1]]), eps=1, min_samples=3
    ).tolist() == [-1, -1]


def test_twenty_thousand_samples_stay_sparse():
    rng = np.random.default_rng(0)
    n = 20_000
    group = np.arange(n) // 10
    neighbours = group[:, None] * 10 + rng.integers(0, 10, (n, 8))
    labels = dbscan(neighbours, np.full((n, 8), 0.2, np.float32), eps=0.5, min_samples=3)
    np.testing.assert_array_equal(labels, group)


@pytest.mark.parametrize(
    ('arguments', 'options', 'message'),
    [
        ((np.array([[1], [0]]),), {}, 'no distances for neighbours of shape'),
        ((np.array([[2], [0]]), np.ones((2, 1))), {}, 'expected indices below 2'),
        (
            (np.array([[1], [0]]), np.full((2, 1), np.nan)),
            {},
            '2 of 2 distances are negative or nan',
        ),
        ((np.array([[1], [0]]), np.ones((2, 1))), {'eps': 0.0}, 'expected eps > 0'),
        ((csr_matrix((2, 3)),), {}, 'expected n x n distances'),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        dbscan(*arguments, **({'eps': 0.5, 'min_samples': 2} | options))
