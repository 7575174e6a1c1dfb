"""Plans: what they hold, and that a generator's state alone decides about them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jreid.data.samplers import (
    cross_camera_plan,
    evaluation_plan,
    fit_plan,
    plain_plan,
    pxk_plan,
    triplet_plan,
)

IDENTITY = np.asarray([4] * 9 + [0] * 2 + [-1] * 3 + [2] * 5 + [7] * 1 + [1] * 8)
CAMERA = np.arange(len(IDENTITY)) % 3


def seeded(*words):
    return np.random.default_rng(words or (0, 0))


def pxk(labels=IDENTITY, P=2, K=2, rng=None):
    return pxk_plan(labels, identities_per_batch=P, images_per_identity=K, rng=rng or seeded())


def cross_camera(labels=IDENTITY, camera=CAMERA, P=2, K=2, rng=None):
    return cross_camera_plan(
        labels, camera, identities_per_batch=P, images_per_identity=K, rng=rng or seeded()
    )


def one_camera(labels, P, K, rng):
    return cross_camera(labels, None, P, K, rng)


@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=8),
    P=st.integers(1, 4),
    K=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    plan_of=st.sampled_from([pxk, one_camera]),
)
@settings(max_examples=60, deadline=None)
def test_pxk_properties(counts, P, K, seed, plan_of):
    P = min(P, len(counts))
    identity = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(len(counts)) * 3, counts)
    )
    plan = plan_of(identity, P, K, seeded(seed, 1))
    assert plan.dtype == np.int32
    assert plan.shape[1] == P * K
    assert len(plan) >= 1
    for step in plan.reshape(-1, P, K):
        labels = identity[step]
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0])) == P
    for group in plan.reshape(-1, K):
        have = (identity == identity[group[0]]).sum()
        # As many different images as there are, each as often as the others to within one.
        assert np.unique(group, return_counts=True)[1].tolist() == pytest.approx(
            [K / min(K, have)] * min(K, have), abs=1
        )
    if plan_of is pxk:
        enough = identity[:, None] == np.flatnonzero(np.bincount(identity) >= K)
        rows, often = np.unique(plan, return_counts=True)
        assert (often[enough.any(1)[rows]] == 1).all()


def test_pxk_ends_when_too_few_identities_have_a_chunk_left():
    # Chunks of 2: identity 4 has 4, 0 has 1, 2 has 2, 7 has 1 (repeated), 1 has 4.
    for epoch in range(5):
        plan = pxk(rng=seeded(0, epoch))
        used = np.bincount(IDENTITY[plan.reshape(-1, 2)[:, 0]], minlength=8)
        left = np.asarray([1, 4, 2, 0, 4, 0, 0, 1]) - used
        assert (left >= 0).all()
        assert (left > 0).sum() < 2


@pytest.mark.parametrize('plan_of', [pxk, cross_camera])
def test_unlabelled_rows_are_left_out(plan_of):
    plan = plan_of(P=5, K=3)
    assert (IDENTITY[plan] >= 0).all()
    assert len(plan) == 1


@pytest.mark.parametrize('plan_of', [pxk, cross_camera])
def test_one_image_per_identity_is_allowed(plan_of):
    assert plan_of(P=2, K=1).shape[1] == 2


@pytest.mark.parametrize(
    'plan_of',
    [
        lambda rng: pxk(rng=rng),
        lambda rng: cross_camera(rng=rng),
        lambda rng: plain_plan(40, batch=8, rng=rng),
        lambda rng: triplet_plan(IDENTITY, CAMERA, anchors=2, triplets_per_pair=3, rng=rng),
    ],
)
def test_plans_depend_on_the_generator_alone(plan_of):
    rng = seeded(1, 2)
    base = plan_of(rng)
    np.random.seed(0)
    np.testing.assert_array_equal(base, plan_of(seeded(1, 2)))
    # The last is the next pass from the same generator.
    for other in (seeded(2, 2), seeded(1, 3), seeded(2, 1), seeded(1, 2, 1), rng):
        changed = plan_of(other)
        assert changed.shape != base.shape or (changed != base).any()


def test_pxk_uses_all_chunks_of_a_real_size():
    identity = np.random.default_rng(0).integers(0, 751, 12936)
    plan = pxk(identity, P=16, K=4)
    assert 12936 * 0.85 < plan.size <= 12936


@pytest.mark.parametrize('plan_of', [pxk, cross_camera])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'P': 6}, 'identities_per_batch is 6, but the 28 images show 5 known identities'),
        ({'P': 0}, 'identities_per_batch is 0; expected at least 1'),
        ({'K': -1}, 'images_per_identity is -1'),
        ({'labels': []}, 'the 0 images show 0 known'),
        ({'labels': [-1, -1]}, 'the 2 images show 0 known'),
    ],
)
def test_pxk_refuses(plan_of, change, message):
    with pytest.raises(ValueError, match=message):
        plan_of(**change)


def test_cross_camera_refuses_cameras_of_other_images():
    with pytest.raises(ValueError, match=r'labels have shape \(28,\), camera \(27,\)'):
        cross_camera(camera=CAMERA[1:])


def test_cross_camera_takes_each_identity_once_per_pass():
    for epoch in range(5):
        plan = cross_camera(rng=seeded(3, epoch))
        chosen = IDENTITY[plan.reshape(-1, 2)[:, 0]]
        assert len(chosen) == len(set(chosen)) == 4


def test_cross_camera_takes_an_anchor_and_images_of_other_cameras():
    labels = np.asarray([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3])
    camera = np.asarray([0, 0, 1, 1, 2, 0, 1, 5, 5, 5, 5, 4, -1, -1])
    anchors = set()
    for epoch in range(40):
        plan = cross_camera(labels, camera, P=4, K=3, rng=seeded(epoch))
        (step,) = plan.reshape(-1, 4, 3)
        rows = {int(labels[group[0]]): group for group in step}
        assert sorted(rows) == [0, 1, 2, 3]
        for label in (0, 1):
            anchor, *others = rows[label]
            assert (camera[others] != camera[anchor]).all()
            anchors.add(int(anchor))
        # Every anchor of identity 0 has at least three images elsewhere; those of identity 1 have
        # one, which repeats.
        assert len(set(rows[0])) == 3
        assert len(set(rows[1])) == 2
        # Without a second known camera, any images of the identity do.
        assert len(set(rows[2])) == len(set(rows[3])) == 3
    assert anchors == set(range(7))


@pytest.mark.parametrize(('n', 'batch', 'steps'), [(40, 8, 5), (47, 8, 5), (8, 8, 1)])
def test_plain_takes_each_row_once(n, batch, steps):
    plan = plain_plan(n, batch=batch, rng=seeded())
    assert plan.shape == (steps, batch)
    assert plan.dtype == np.int32
    assert len(np.unique(plan)) == plan.size
    assert plan.min() >= 0
    assert plan.max() < n
    assert (plan.reshape(-1) != np.arange(plan.size)).any()


def test_plain_fills_a_batch_larger_than_the_set():
    plan = plain_plan(3, batch=8, rng=seeded())
    assert plan.shape == (1, 8)
    assert sorted(np.bincount(plan[0])) == [2, 3, 3]
    assert sorted(plan[0, :3]) == [0, 1, 2]


def test_plain_refuses_nothing():
    with pytest.raises(ValueError, match='no image to draw from'):
        plain_plan(0, batch=2, rng=seeded())
    with pytest.raises(ValueError, match='batch is 0'):
        plain_plan(5, batch=0, rng=seeded())


def test_fit_plan_joins_passes():
    def passes(rng):
        return lambda: plain_plan(10, batch=4, rng=rng)

    draw = passes(seeded(5, 6))
    expected = np.concatenate([draw(), draw(), draw()])
    np.testing.assert_array_equal(fit_plan(passes(seeded(5, 6)), 5), expected[:5])
    np.testing.assert_array_equal(fit_plan(passes(seeded(5, 6)), 1), expected[:1])
    with pytest.raises(ValueError, match='steps is 0'):
        fit_plan(draw, 0)
    with pytest.raises(ValueError, match='pass 0 over the data has no step'):
        fit_plan(lambda: np.zeros((0, 4), np.int32), 3)


@pytest.mark.parametrize(
    ('n', 'batch', 'expected'),
    [(5, 2, [[0, 1], [2, 3], [4, -1]]), (4, 2, [[0, 1], [2, 3]]), (1, 3, [[0, -1, -1]])],
)
def test_evaluation_plan(n, batch, expected):
    plan = evaluation_plan(n, batch)
    assert plan.tolist() == expected
    assert plan.dtype == np.int32


def test_evaluation_plan_of_nothing():
    assert evaluation_plan(0, 4).shape == (0, 4)


def test_triplets_come_from_two_cameras():
    plan = triplet_plan(IDENTITY, CAMERA, anchors=3, triplets_per_pair=4, rng=seeded())
    assert plan.dtype == np.int32
    assert plan.shape[1] == 3 * 6
    rows = plan.reshape(-1, 6)
    a1, a2, b2 = rows[:, 0], rows[:, 1], rows[:, 2:]
    assert (IDENTITY[rows] >= 0).all()
    assert (IDENTITY[a1] == IDENTITY[a2]).all()
    assert (CAMERA[a1] != CAMERA[a2]).all()
    assert (IDENTITY[b2] != IDENTITY[a1][:, None]).all()
    assert (CAMERA[b2] == CAMERA[a2][:, None]).all()
    assert len(np.unique(a1)) == len(a1)
    # The lone image of identity 7 has no positive; the other 24 labelled ones have.
    assert len(rows) == 24
    assert all(len(np.unique(negatives)) == 4 for negatives in b2)


def test_triplets_without_cameras_take_any_other_image_of_the_person():
    identity = np.arange(12) // 3
    plan = triplet_plan(identity, None, anchors=2, triplets_per_pair=4, rng=seeded()).reshape(-1, 6)
    assert sorted(plan[:, 0].tolist()) == list(range(12))
    assert (identity[plan[:, 0]] == identity[plan[:, 1]]).all()
    assert (plan[:, 0] != plan[:, 1]).all()
    assert (identity[plan[:, 2:]] != identity[plan[:, :1]]).all()
    with pytest.raises(ValueError, match='no pair of cameras'):
        triplet_plan(np.arange(4), None, anchors=1, rng=seeded())


def test_triplets_repeat_few_negatives_and_fill_a_step():
    plan = triplet_plan(
        np.asarray([0, 0, 1]),
        np.asarray([0, 1, 1]),
        anchors=4,
        triplets_per_pair=3,
        rng=seeded(),
    )
    assert plan.tolist() == [[0, 1, 2, 2, 2] * 4]


@pytest.mark.parametrize(
    ('identity', 'camera', 'message'),
    [
        ([0, 0, 1], [0, 0, 1], 'no pair of cameras among 2 identities and 2 cameras'),
        ([0, 0], [0, 1], 'no pair of cameras among 1 identities'),
        ([], [], 'among 0 identities'),
        ([0, 0, 1], [-1, -1, -1], 'and 0 cameras'),
        ([0, 1], [0], r'labels have shape \(2,\), camera \(1,\)'),
    ],
)
def test_triplets_refuse(identity, camera, message):
    with pytest.raises(ValueError, match=message):
        triplet_plan(np.asarray(identity, int), np.asarray(camera, int), anchors=1, rng=seeded())
