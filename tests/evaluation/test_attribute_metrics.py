"""Attribute metrics equal scikit-learn's."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from jreid.evaluation import attributes

NAMES = ('hat', 'backpack', 'gender')


def predictions(n=200):
    rng = np.random.default_rng(0)
    labels = (rng.random((n, 3)) < (0.1, 0.4, 0.6)).astype(np.float32)
    return np.clip(0.35 + 0.3 * labels + rng.normal(0, 0.25, (n, 3)), 0, 1), labels


def test_equal_to_scikit_learn():
    p, labels = predictions()
    metrics = attributes.measure(p, labels, NAMES)
    for i in range(3):
        true, guess = labels[:, i], p[:, i] > 0.5
        assert metrics.accuracy[i] == pytest.approx(accuracy_score(true, guess))
        assert metrics.balanced_accuracy[i] == pytest.approx(balanced_accuracy_score(true, guess))
        assert metrics.f1[i] == pytest.approx(f1_score(true, guess))
    assert metrics.mean('f1') == pytest.approx(f1_score(labels, p > 0.5, average='macro'))


def test_unlabelled_images_are_left_out():
    p, labels = predictions()
    more = (
        np.concatenate([p, np.full((7, 3), np.nan)]),
        np.concatenate([labels, np.full((7, 3), np.nan, np.float32)]),
    )
    assert (
        attributes.measure(*more, NAMES).as_row() == attributes.measure(p, labels, NAMES).as_row()
    )


def test_undefined_values_are_none_and_left_out_of_the_mean():
    labels = np.array([[1, 0, 1], [1, 0, 0]], np.float32)
    metrics = attributes.measure(np.array([[0.9, 0.1, 0.9], [0.2, 0.7, 0.2]]), labels, NAMES)
    np.testing.assert_array_equal(metrics.accuracy, [0.5, 0.5, 1])
    np.testing.assert_array_equal(metrics.balanced_accuracy, [np.nan, np.nan, 1])
    np.testing.assert_array_equal(metrics.f1, [2 / 3, np.nan, 1])
    assert metrics.mean('balanced_accuracy') == 1
    assert metrics.mean('f1') == pytest.approx(5 / 6)
    row = json.loads(json.dumps(metrics.as_row()))
    assert row['each']['backpack'] == {
        'positives': 0.0,
        'accuracy': 50.0,
        'balanced_accuracy': None,
        'f1': None,
    }
    lines = attributes.table(row, title='target').splitlines()
    assert lines[0] == 'target: 3 attributes, 2 images'
    assert lines[3].split() == ['backpack', '0.0', '50.0', '-', '-']
    assert lines[-1].split() == ['mean', '66.7', '100.0', '83.3']


def test_columns_that_two_sets_share():
    ours, theirs, names = attributes.shared_columns(['age', 'hat', 'bag'], ['bag', 'top', 'hat'])
    assert names == ('hat', 'bag')
    assert ours.tolist() == [1, 2]
    assert theirs.tolist() == [2, 0]


@pytest.mark.parametrize(
    ('p', 'labels', 'message'),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), 'expected'),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), 'none of 2 images'),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), '2 of 2 predictions are NaN'),
    ],
)
def test_refused(p, labels, message):
    with pytest.raises(ValueError, match=message):
        attributes.measure(p, labels, NAMES)
