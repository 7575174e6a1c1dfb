"""Cluster accuracy against scipy's dense Hungarian algorithm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from jreid.clustering import cluster_accuracy


def dense(true, predicted) -> float:
    table = np.zeros((true.max() + 1, predicted.max() + 1))
    np.add.at(table, (true, predicted), 1)
    return table[linear_sum_assignment(-table)].sum() / len(true)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 80),
    identities=st.integers(1, 30),
    clusters=st.integers(1, 30),
)
def test_equals_the_dense_hungarian(seed, n, identities, clusters):
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, identities, n), rng.integers(0, clusters, n)
    assert cluster_accuracy(true, predicted) == pytest.approx(dense(true, predicted), abs=1e-12)
    assert cluster_accuracy(true, rng.permutation(clusters)[predicted] * 100) == pytest.approx(
        cluster_accuracy(true, predicted), abs=1e-12
    )


def test_values_by_hand():
    true = np.array([0, 0, 1, 1, 2, 2])
    assert cluster_accuracy(true, np.array([7, 7, 3, 3, -4, -4])) == 1.0
    assert cluster_accuracy(true, np.zeros(6, int)) == pytest.approx(2 / 6)
    assert cluster_accuracy(true, np.arange(6)) == pytest.approx(3 / 6)
    # The greedy match of cluster 0 to identity 0 would give 3 + 0, the best one gives 2 + 3.
    assert cluster_accuracy(
        np.array([0, 0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 0, 0])
    ) == pytest.approx(5 / 8)


def test_ten_thousand_clusters_need_no_dense_table():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 10_000, 40_000)
    predicted = rng.permutation(10_000)[true]
    predicted[:400] = rng.integers(0, 10_000, 400)
    assert 0.99 <= cluster_accuracy(true, predicted) < 0.992


def test_mistakes_are_named():
    with pytest.raises(ValueError, match='0 true and 0 predicted'):
        cluster_accuracy(np.zeros(0, int), np.zeros(0, int))
