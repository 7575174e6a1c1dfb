"""Nearest neighbours against a sort of all distances."""

import numpy as np
import pytest
import reference

from jreid.retrieval import nearest


def expected(x, y, k):
    d = reference.squared(x, y).astype(np.float32)
    order = np.argsort(d, axis=1, kind='stable')[:, :k]
    return order, np.take_along_axis(d, order, axis=1), d.max(axis=1)


@pytest.mark.parametrize('block_size', [1, 17, 400])
@pytest.mark.parametrize(('k', 'rows'), [(1, 900), (5, 900), (21, 900), (30, 40), (50, 40)])
def test_equals_a_sort_of_all(block_size, k, rows):
    rng = np.random.default_rng(0)
    x, y = (
        rng.standard_normal((50, 8)).astype(np.float32) + 5,
        rng.standard_normal((rows, 8)).astype(np.float32) + 5,
    )
    found = nearest(x, y, k=k, block_size=block_size)
    index, squared, furthest = expected(x, y, k)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.squared, squared, rtol=1e-5)
    np.testing.assert_allclose(found.furthest, furthest, rtol=1e-5)
    assert (found.index.dtype, found.squared.dtype, found.furthest.dtype) == (
        np.int32,
        np.float32,
        np.float32,
    )


@pytest.mark.parametrize('distinct', [1, 3, 40])
def test_ties_go_by_index(distinct):
    """Distances of whole numbers are exact, and up to all of a row are equal."""
    rng = np.random.default_rng(0)
    values = rng.integers(-5, 5, (distinct, 4)).astype(np.float32)
    x = values[rng.integers(0, distinct, 2000)]
    found = nearest(x[:60], x, k=4, block_size=25)
    np.testing.assert_array_equal(found.index, expected(x[:60], x, 4)[0])


def test_refusals():
    x = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match='k is 0'):
        nearest(x, x, k=0)
    with pytest.raises(ValueError, match='3 of 3 query features'):
        nearest(x * np.nan, x, k=1)
