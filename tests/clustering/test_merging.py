"""Ward's merges against SciPy's hierarchy, which starts from single samples only."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from jreid.clustering.merging import labels_after, ward_merges


def samples(seed, n=60, width=5):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('clusters', [1, 2, 7, 30, 59, 60])
def test_cuts_are_scipys(seed, clusters):
    x = samples(seed)
    ours = labels_after(ward_merges(x), len(x), clusters)
    theirs = fcluster(linkage(x.astype(np.float64), 'ward'), clusters, 'maxclust')
    assert len(np.unique(ours)) == clusters
    assert adjusted_rand_score(theirs, ours) == 1


def test_costs_are_half_the_squares_of_scipys_heights():
    x = samples(3)
    heights = linkage(x.astype(np.float64), 'ward')[:, 2]
    np.testing.assert_allclose(ward_merges(x).cost, heights**2 / 2, rtol=1e-4)


def test_costs_add_up_to_all_the_variance():
    x = samples(4)
    assert np.isclose(ward_merges(x).cost.sum(), np.square(x - x.mean(0)).sum(), rtol=1e-5)


def test_a_cluster_counts_as_often_as_it_has_samples():
    """The hierarchy of clusters is that of their samples, where these are each other's nearest."""
    x = samples(5, n=20)
    sizes = np.random.default_rng(5).integers(1, 6, len(x))
    repeated = np.repeat(np.arange(len(x)), sizes)
    single = ward_merges(x[repeated])
    for clusters in (2, 5, 11):
        weighted = labels_after(ward_merges(x, sizes), len(x), clusters)[repeated]
        whole = labels_after(single, len(repeated), clusters)
        assert adjusted_rand_score(weighted, whole) == 1


def test_order_shift_and_scale_change_nothing():
    x, order = samples(6), np.random.default_rng(6).permutation(60)
    plain = labels_after(ward_merges(x), 60, 9)
    for other in (3 * x, x + 10, x):
        found = labels_after(ward_merges(other[order]), 60, 9)
        assert adjusted_rand_score(plain[order], found) == 1


def test_numbers_ascend_by_first_member():
    labels = labels_after(ward_merges(samples(7)), 60, 12)
    assert (np.diff(np.unique(labels, return_index=True)[1]) > 0).all()


def test_one_cluster_has_no_merges():
    assert not len(ward_merges(samples(8, n=1)).kept)


@pytest.mark.parametrize(
    ('centroids', 'sizes', 'message'),
    [
        (np.full((3, 2), np.nan), None, 'not finite'),
        (np.zeros((3, 2)), np.array([1, 2]), 'expected 3 numbers'),
        (np.zeros((3, 2)), np.array([1, 0, 2]), '1 or more'),
    ],
)
def test_mistakes_are_named(centroids, sizes, message):
    with pytest.raises(ValueError, match=message):
        ward_merges(centroids, sizes)


@pytest.mark.parametrize('clusters', [0, 61])
def test_a_cut_that_is_none_is_named(clusters):
    with pytest.raises(ValueError, match='expected 1 to 60'):
        labels_after(ward_merges(samples(9)), 60, clusters)
