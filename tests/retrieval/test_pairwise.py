"""Pairwise distances against scipy, on the host and on the device."""

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jreid.retrieval import pairwise
from jreid.retrieval.checks import check_pair
from jreid.retrieval.distances import inner_products, squared_distances


@pytest.mark.parametrize('distance', ['euclidean', 'sqeuclidean', 'cosine'])
@pytest.mark.parametrize('block_size', [3, 100])
def test_equals_scipy(distance, block_size):
    rng = np.random.default_rng(0)
    x, y = (
        rng.standard_normal((11, 6)).astype(np.float32),
        rng.standard_normal((4099, 6)).astype(np.float32),
    )
    found = pairwise(x, y, distance=distance, block_size=block_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, cdist(x.astype(np.float64), y.astype(np.float64), distance), rtol=1e-6, atol=2e-7
    )


def test_equal_rows_have_distance_zero_far_from_the_origin():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((50, 300)) + 100).astype(np.float32)
    found = pairwise(x, x)
    assert (np.diag(found) == 0).all()
    np.testing.assert_allclose(found, cdist(x.astype(np.float64), x.astype(np.float64)), rtol=1e-6)


def test_a_row_of_zeros_has_cosine_distance_one():
    x = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    y = np.array([[3.0, 0.0], [-2.0, -2.0]], np.float32)
    # |0 - y/|y||^2 / 2 is 1/2: the definition by unit vectors alone would make a zero row near to
    # everything.
    np.testing.assert_allclose(pairwise(y, x, distance='cosine', block_size=1)[:, 0], 1)
    np.testing.assert_allclose(
        pairwise(x, y, distance='cosine'), [[1, 1], [1 - np.sqrt(0.5), 2]], rtol=1e-6
    )


def test_the_device_gives_what_the_host_gives():
    rng = np.random.default_rng(0)
    x, y = (
        rng.standard_normal((5, 40)).astype(np.float32),
        rng.standard_normal((7, 40)).astype(np.float32),
    )
    on_device = inner_products(x, y, on_device=True)
    assert on_device.dtype == np.float64
    np.testing.assert_allclose(
        on_device, inner_products(x, y, on_device=False), rtol=1e-13, atol=1e-13
    )
    assert not jax.config.jax_enable_x64


def test_never_negative():
    x = np.full((3, 5), 0.1, np.float32)
    assert (squared_distances(x, x) == 0).all()


def test_refusals():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match='query features are 3 wide and gallery features 4'):
        check_pair(x, np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match='have shape'):
        pairwise(x, np.zeros((0, 3), np.float32))
    with pytest.raises(ValueError, match='1 of 2 gallery features hold NaN'):
        pairwise(x, np.array([[1, 2, 3], [1, np.nan, 3]], np.float32))


def test_features_whose_distances_leave_float32_are_refused():
    x = np.full((3, 20), 1e17, np.float32)
    assert np.isfinite(pairwise(x, -x)).all()
    x[1] = 3e37
    with pytest.raises(
        ValueError, match=r'1 of 3 query features are longer than 3e\+18 \(first: row 1\)'
    ):
        pairwise(x, x)
