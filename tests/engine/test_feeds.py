"""From plans to batches: ready-made streams, loose images, and what a batch holds."""

import dataclasses

import numpy as np
import pytest

from jreid.data import Index
from jreid.engine import feeds
from jreid.methods.common import plans

PSEUDO = plans.pseudo('target', 4, 2)
STREAMS = {
    'pxk': plans.pxk('source', 4, 2),
    'plain': plans.plain('source', 8),
    'pseudo': PSEUDO,
    'cross_camera': plans.cross_camera('target', 4, 2),
}


def index(n):
    return Index(np.array([f'/{i}.jpg' for i in range(n)]), np.arange(n) // 4, np.arange(n) % 2)


@pytest.mark.parametrize('name', STREAMS)
def test_plan_is_a_function_of_its_seed(name):
    labels = np.arange(40) // 4
    if name in ('pseudo', 'cross_camera'):
        labels = np.where(np.arange(40) % 7 == 0, -1, labels)

    def plan(*seed, steps=9):
        return feeds.plan(STREAMS[name], index(40), labels, steps=steps, seed=seed)

    assert plan(1, 2).shape == (9, 8)
    np.testing.assert_array_equal(plan(1, 2), plan(1, 2))
    # More steps go on where fewer end, over several passes: a resumed run takes the tail.
    np.testing.assert_array_equal(plan(1, 2, steps=17)[:9], plan(1, 2))
    for other in (plan(1, 3), plan(2, 2), plan(2, 1), plan(1, 2, 1)):
        assert (other != plan(1, 2)).any()


def test_draws_of_runs_phases_and_streams_never_coincide():
    """64 * seed + 8 * phase + i gave phase 8 of a run the draws of the next run's phase 0."""
    labels, images = np.arange(40) // 4, index(40)
    seeds = [
        (seed, phase, i, epoch)
        for seed in (0, 1)
        for phase in (0, 1, 8)
        for i in (0, 1, 8)
        for epoch in (0, 1)
    ]
    drawn = {
        feeds.plan(STREAMS['plain'], images, labels, steps=5, seed=seed).tobytes() for seed in seeds
    }
    assert len(drawn) == len(seeds)


def test_groups_of_a_plan_are_p_identities_of_k_images():
    labels = np.arange(40) // 4
    plan = feeds.plan(plans.pxk('source', 3, 4), index(40), labels, steps=5, seed=(0,))
    for rows in plan:
        groups = labels[rows].reshape(3, 4)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == 3


def test_cross_camera_groups_take_their_other_images_from_another_camera():
    labels, images = np.arange(40) // 4, index(40)
    plan = feeds.plan(plans.cross_camera('target', 3, 2), images, labels, steps=9, seed=(0,))
    pairs = plan.reshape(-1, 2)
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all()
    assert (images.camera[pairs[:, 0]] != images.camera[pairs[:, 1]]).all()
    unknown = dataclasses.replace(images, camera=np.full(40, -1))
    few = np.where(labels < 2, labels, -1)
    plan = feeds.plan(plans.cross_camera('target', 3, 2), unknown, few, steps=9, seed=(0,))
    assert plan.shape == (9, 6)
    assert set(few[plan].ravel()) == {0, 1}


def test_triplets_of_a_plan_come_in_groups_from_two_cameras():
    stream, labels = plans.triplets('target', 2, 3), np.arange(40) // 4
    images = index(40)
    plan = feeds.plan(stream, images, labels, steps=30, seed=(0, 0))
    assert plan.shape == (30, 10)
    a1, a2, *negatives = np.moveaxis(plan.reshape(-1, 5), 1, 0)
    assert (labels[a1] == labels[a2]).all()
    assert (images.camera[a1] != images.camera[a2]).all()
    for b2 in negatives:
        assert (labels[b2] != labels[a1]).all()
        assert (images.camera[b2] == images.camera[a2]).all()
    np.testing.assert_array_equal(
        feeds.plan(stream, images, labels, steps=9, seed=(0, 0)), plan[:9]
    )
    unknown = Index(images.path, images.identity, np.full(40, -1))
    assert feeds.plan(stream, unknown, labels, steps=3, seed=(0, 0)).shape == (3, 10)


def test_images_without_a_label_come_into_batches_with_label_minus_one():
    labels = np.array([0] * 6 + [1] * 6 + [2] * 6 + [3] * 6 + [-1] * 8)
    plan = feeds.plan(PSEUDO, index(32), labels, steps=12, seed=(0, 0))
    assert set(np.flatnonzero(labels < 0)) <= set(plan.ravel())
    feed = feeds.Feed(index(32), lambda plan: iter(()), lambda: np.zeros(0))
    part = feeds.part(PSEUDO, feed, labels, plan[0], None)
    assert set(part) == {'label', 'camera', 'row'}  # of a target batch never `identity`
    np.testing.assert_array_equal(part['label'], labels[plan[0]])
    np.testing.assert_array_equal(part['camera'], plan[0] % 2)
    source = feeds.part(STREAMS['pxk'], feed, labels, plan[0], None)
    np.testing.assert_array_equal(source['identity'], labels[plan[0]])
    pairs = labels[plan].reshape(-1, 2)
    # Loose images come beside loose ones, never into a person's group.
    assert (pairs[:, 0] == pairs[:, 1]).all()
    other = feeds.plan(PSEUDO, index(32), labels, steps=12, seed=(0, 1))
    loose = [
        {tuple(sorted(p)) for p in one.reshape(-1, 2) if labels[p[0]] < 0} for one in (plan, other)
    ]
    assert loose[0] != loose[1]  # grouped anew every epoch


def test_several_labels_per_image_come_into_a_batch_and_the_first_groups():
    labels = np.stack([np.arange(40) // 4, np.arange(40) % 3], axis=1)
    plan = feeds.plan(PSEUDO, index(40), labels, steps=3, seed=(0,))
    feed = feeds.Feed(index(40), lambda plan: iter(()), lambda: np.zeros(0))
    np.testing.assert_array_equal(
        feeds.part(PSEUDO, feed, labels, plan[0], None)['label'], labels[plan[0]]
    )
    pairs = labels[plan, 0].reshape(-1, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()


def test_target_of_which_nothing_is_labelled_still_gives_batches():
    plan = feeds.plan(PSEUDO, index(32), np.full(32, -1), steps=4, seed=(0, 0))
    assert len(np.unique(plan)) == 32


def test_epoch_has_about_a_step_per_batch_and_at_least_one():
    assert feeds.epoch_steps(PSEUDO, 100) == 12
    assert feeds.epoch_steps(PSEUDO, 3) == 1


def test_plans_that_cannot_be_drawn_or_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r'identities_per_batch is 4, but the .* show 2 known'):
        feeds.plan(STREAMS['pxk'], index(8), np.arange(8) // 4, steps=1, seed=(0, 0))
    own = dataclasses.replace(PSEUDO, plan=lambda index, labels, steps, rng: np.zeros((steps, 7)))
    with pytest.raises(ValueError, match=r'shape \(3, 7\); expected 3 steps of 8 images'):
        feeds.plan(own, index(8), np.arange(8), steps=3, seed=(0,))
    own = dataclasses.replace(PSEUDO, plan=lambda index, labels, steps, rng: np.full((steps, 8), 9))
    with pytest.raises(ValueError, match='rows 9 to 9; the split has 8 images'):
        feeds.plan(own, index(8), np.arange(8), steps=3, seed=(0,))


def test_without_tensorflow_its_loader_says_so(monkeypatch):
    monkeypatch.setattr(feeds.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match="'tf' needs TensorFlow, which is not installed"):
        feeds.feeder(size=(8, 4), loader='tf', bad_files='error', pack_folder=None)
