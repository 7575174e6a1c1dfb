"""The nearest gallery images against a stable sort of all distances."""

import numpy as np
import pytest
import reference

from jreid.retrieval import pairwise, top_ranked, top_ranked_distances


@pytest.mark.parametrize('block_size', [3, 256])
@pytest.mark.parametrize('camera_rule', [True, False])
def test_lists_equal_a_stable_sort(block_size, camera_rule):
    rng = np.random.default_rng(0)
    query, gallery = (
        rng.integers(0, 3, (9, 2)).astype(np.float32),
        rng.integers(0, 3, (40, 2)).astype(np.float32),
    )
    ids = (rng.integers(0, 4, 9), rng.integers(-1, 4, 40))
    cameras = (rng.integers(0, 2, 9), rng.integers(0, 2, 40))
    chosen = cameras if camera_rule else (None, None)
    found = top_ranked(query, gallery, *ids, *chosen, k=7, block_size=block_size)
    d = pairwise(query, gallery)
    by_distance = top_ranked_distances(d, *ids, *chosen, k=7, block_size=block_size)
    np.testing.assert_array_equal(by_distance.rows, found.rows)
    np.testing.assert_array_equal(by_distance.correct, found.correct)
    for i in range(9):
        expected = reference.ranked(d, i, ids, cameras if camera_rule else None)[:7]
        np.testing.assert_array_equal(found.rows[i], expected)
        np.testing.assert_array_equal(found.correct[i], ids[1][expected] == ids[0][i])
        np.testing.assert_array_equal(found.distances[i], d[i, expected])


def test_short_lists_end_in_minus_one():
    gallery = np.array([[0.0], [2.0], [1.0], [3.0]], np.float32)
    found = top_ranked(
        np.zeros((2, 1), np.float32),
        gallery,
        np.array([5, -1]),
        np.array([5, 5, 6, -1]),
        np.array([0, 0]),
        np.array([0, 1, 0, 0]),
        k=6,
    )
    np.testing.assert_array_equal(found.rows, [[2, 1, -1, -1, -1, -1], [0, 2, 1, -1, -1, -1]])
    np.testing.assert_array_equal(
        found.correct, [[False, True, False, False, False, False], [False] * 6]
    )
    np.testing.assert_array_equal(found.distances[0], [1, 2] + 4 * [np.inf])
