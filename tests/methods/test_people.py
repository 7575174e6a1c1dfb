"""Grouping images into people by their features alone."""

import numpy as np
import pytest

from jreid.clustering import cluster_accuracy
from jreid.methods.common import people
from jreid.methods.common.people import group_people


def crowd(persons, images, *, seed=0, noise=0.1, width=16):
    """Features around one random direction per person, shuffled, with the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(persons), images))
    centres = rng.normal(size=(persons, width))
    features = centres[truth] + noise * rng.normal(size=(len(truth), width))
    return features.astype(np.float32), truth


@pytest.mark.parametrize(('persons', 'images'), [(2, 4), (5, 6), (12, 8), (30, 10)])
def test_well_separated_people_are_found(persons, images):
    features, truth = crowd(persons, images)
    labels = group_people(features)
    assert labels.dtype == np.int32
    assert float(cluster_accuracy(truth, labels)) == 1
    assert set(labels.tolist()) == set(range(persons))


def test_people_are_numbered_by_their_images_and_loners_by_minus_one():
    groups = np.array([7, 3, 3, 5, 5, 9, 3, 9, 2])
    assert people.by_size(groups, alone=-1).tolist() == [-1, 0, 0, 1, 1, 2, 0, 2, -1]
    assert people.by_size(groups, alone=0).tolist() == [3, 0, 0, 1, 1, 2, 0, 2, 4]
    noise = np.array([-1, 4, -1, 4])
    assert people.by_size(noise, alone=0).tolist() == [-1, 0, -1, 0]


def test_a_known_number_of_people_is_met_and_covers_every_image():
    features, truth = crowd(6, 7, noise=0.6)
    labels = group_people(features, count=6)
    assert set(labels.tolist()) == set(range(6))


def test_what_a_camera_adds_to_all_its_images_is_left_out():
    features, truth = crowd(8, 12, noise=0.05)
    order = np.argsort(truth, kind='stable')  # every person as often on each camera
    features, truth, cameras = features[order], truth[order], np.arange(len(truth)) % 3
    moved = features + 20 * np.random.default_rng(3).normal(size=(3, 16))[cameras]
    with_cameras = float(cluster_accuracy(truth, group_people(moved.astype(np.float32), cameras)))
    without = float(cluster_accuracy(truth, group_people(moved.astype(np.float32))))
    assert with_cameras > 0.9
    assert without < 0.5
    # A camera with fewer images than its mean needs: nothing is taken off.
    few = np.where(np.arange(len(truth)) < 3, 3, 0)
    np.testing.assert_array_equal(group_people(features, few), group_people(features))


def test_many_images_are_grouped_without_all_pairs(monkeypatch):
    features, truth = crowd(10, 12)
    monkeypatch.setattr(people, 'LARGE', 50)
    assert float(cluster_accuracy(truth, group_people(features))) > 0.9
    with pytest.raises(ValueError, match='can be given for up to 50'):
        group_people(features, count=10)


def test_too_few_images_and_wrong_counts_are_refused():
    features, _ = crowd(2, 3)
    with pytest.raises(ValueError, match='found 1 images; expected two or more'):
        group_people(features[:1])
    for count in (0, 7):
        with pytest.raises(ValueError, match=f'{count} people in 6 images; expected a number'):
            group_people(features, count=count)
    assert group_people(features[:2]).shape == (2,)
