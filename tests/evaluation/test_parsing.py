"""Intersection over union by hand."""

import numpy as np
import pytest

from jreid.evaluation import parsing


def test_iou_by_hand():
    truth = np.uint8([[0, 0, 1, 1], [1, 255, 2, 2]])
    predicted = np.uint8([[0, 1, 1, 1], [0, 2, 2, 0]])
    metrics = parsing.ParsingMetrics(parsing.count(predicted, truth, 4))
    # Class 0: 1 right, 2 labelled, 3 predicted; class 1: 2, 3, 3; class 2: 1, 2, 1; class 3
    # nowhere.
    np.testing.assert_allclose(metrics.iou, [1 / 4, 2 / 4, 1 / 2, np.nan])
    assert metrics.mean_iou == pytest.approx((1 / 4 + 1 / 2 + 1 / 2) / 3)
    assert metrics.pixel_accuracy == pytest.approx(4 / 7)
    row = metrics.as_row(['a', 'b', 'c', 'd'])
    assert row['each'] == {'a': 25.0, 'b': 50.0, 'c': 50.0, 'd': None}
    assert (
        parsing.table(row, title='target').splitlines()[0] == 'target: mean IoU 41.7, pixels 57.1'
    )


def test_blocks_add_up():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 8, (2, 6, 5, 3), np.uint8)
    np.testing.assert_array_equal(
        parsing.count(predicted, truth),
        parsing.count(predicted[:2], truth[:2]) + parsing.count(predicted[2:], truth[2:]),
    )


def test_wrong_maps_are_said():
    with pytest.raises(ValueError, match='a pixel is labelled as class 8; there are 8'):
        parsing.count(np.zeros((1, 2), np.uint8), np.uint8([[0, 8]]))
    with pytest.raises(ValueError, match=r'shape \(1, 2\), true ones of \(2, 1\)'):
        parsing.count(np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8))
