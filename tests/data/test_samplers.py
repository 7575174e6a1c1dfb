"""Plans: what they hold, that they repeat for a seed, and that they differ between epochs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jreid.data.samplers import evaluation_plan, fit_plan, plain_plan, pxk_plan, triplet_plan

IDENTITY = np.asarray([4] * 9 + [0] * 2 + [-1] * 3 + [2] * 5 + [7] * 1 + [1] * 8)
CAMERA = np.arange(len(IDENTITY)) % 3


@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=8),
    P=st.integers(1, 4),
    K=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    instance=st.sampled_from(['chunk', 'once']),
)
@settings(max_examples=60, deadline=None)
def test_pxk_properties(counts, P, K, seed, instance):
    P = min(P, len(counts))
    identity = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(len(counts)) * 3, counts)
    )
    plan = pxk_plan(identity, P=P, K=K, seed=seed, epoch=1, instance=instance)
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
    if instance == 'chunk':
        enough = identity[:, None] == np.flatnonzero(np.bincount(identity) >= K)
        rows, often = np.unique(plan, return_counts=True)
        assert (often[enough.any(1)[rows]] == 1).all()


def test_pxk_ends_when_too_few_identities_have_a_chunk_left():
    # Chunks of 2: identity 4 has 4, 0 has 1, 2 has 2, 7 has 1 (repeated), 1 has 4.
    for epoch in range(5):
        plan = pxk_plan(IDENTITY, P=2, K=2, seed=0, epoch=epoch)
        used = np.bincount(IDENTITY[plan.reshape(-1, 2)[:, 0]], minlength=8)
        left = np.asarray([1, 4, 2, 0, 4, 0, 0, 1]) - used
        assert (left >= 0).all()
        assert (left > 0).sum() < 2


def test_pxk_leaves_unlabelled_rows_out():
    plan = pxk_plan(IDENTITY, P=5, K=3, seed=0, epoch=0)
    assert (IDENTITY[plan] >= 0).all()
    assert len(plan) == 1


def test_pxk_once_takes_each_identity_once():
    plan = pxk_plan(IDENTITY, P=2, K=2, seed=3, epoch=0, instance='once')
    chosen = IDENTITY[plan.reshape(-1, 2)[:, 0]]
    assert len(chosen) == len(set(chosen)) == 4


def test_one_image_an_identity_is_allowed():
    assert pxk_plan(IDENTITY, P=2, K=1, seed=0, epoch=0).shape[1] == 2


@pytest.mark.parametrize(
    'make',
    [
        lambda **s: pxk_plan(IDENTITY, P=2, K=2, **s),
        lambda **s: plain_plan(40, batch=8, **s),
        lambda **s: triplet_plan(IDENTITY, CAMERA, anchors=2, triplets_per_pair=3, **s),
    ],
)
def test_plans_depend_on_seed_epoch_and_repeat_alone(make):
    base = make(seed=1, epoch=2)
    np.random.seed(0)
    np.testing.assert_array_equal(base, make(seed=1, epoch=2, repeat=0))
    for other in (
        {'seed': 2, 'epoch': 2},
        {'seed': 1, 'epoch': 3},
        {'seed': 1, 'epoch': 2, 'repeat': 1},
        {'seed': 2, 'epoch': 1},
    ):
        changed = make(**other)
        assert changed.shape != base.shape or (changed != base).any()


def test_pxk_uses_all_chunks_of_a_real_size():
    identity = np.random.default_rng(0).integers(0, 751, 12936)
    plan = pxk_plan(identity, P=16, K=4, seed=0, epoch=0)
    assert 12936 * 0.85 < plan.size <= 12936


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'P': 6}, 'a batch of P = 6 identities needs as many, but 5 of 28 images'),
        ({'P': 0}, 'P is 0; expected at least 1'),
        ({'K': -1}, 'K is -1'),
        ({'identity': []}, 'but 0 of 0 images'),
        ({'identity': [-1, -1]}, 'but 0 of 2 images'),
        ({'instance': 'random'}, "instance is 'random'; expected 'chunk'"),
        ({'seed': -1}, 'seed, epoch and repeat are -1, 0, 0'),
    ],
)
def test_pxk_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        pxk_plan(**({'identity': IDENTITY, 'P': 2, 'K': 2, 'seed': 0, 'epoch': 0} | change))


@pytest.mark.parametrize(('n', 'batch', 'steps'), [(40, 8, 5), (47, 8, 5), (8, 8, 1)])
def test_plain_takes_each_row_once(n, batch, steps):
    plan = plain_plan(n, batch=batch, seed=0, epoch=0)
    assert plan.shape == (steps, batch)
    assert plan.dtype == np.int32
    assert len(np.unique(plan)) == plan.size
    assert plan.min() >= 0
    assert plan.max() < n
    assert (plan.reshape(-1) != np.arange(plan.size)).any()


def test_plain_fills_a_batch_larger_than_the_set():
    plan = plain_plan(3, batch=8, seed=0, epoch=0)
    assert plan.shape == (1, 8)
    assert sorted(np.bincount(plan[0])) == [2, 3, 3]
    assert sorted(plan[0, :3]) == [0, 1, 2]


def test_plain_refuses_nothing():
    with pytest.raises(ValueError, match='no image to draw from'):
        plain_plan(0, batch=2, seed=0, epoch=0)
    with pytest.raises(ValueError, match='batch is 0'):
        plain_plan(5, batch=0, seed=0, epoch=0)


def test_fit_plan_strings_sub_epochs_together():
    def make(repeat):
        return plain_plan(10, batch=4, seed=5, epoch=6, repeat=repeat)

    plan = fit_plan(make, 5)
    np.testing.assert_array_equal(plan, np.concatenate([make(0), make(1), make(2)])[:5])
    np.testing.assert_array_equal(fit_plan(make, 1), make(0)[:1])
    with pytest.raises(ValueError, match='steps is 0'):
        fit_plan(make, 0)
    with pytest.raises(ValueError, match='sub-epoch 0 has no step'):
        fit_plan(lambda repeat: np.zeros((0, 4), np.int32), 3)


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
    plan = triplet_plan(IDENTITY, CAMERA, anchors=3, triplets_per_pair=4, seed=0, epoch=0)
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
    plan = triplet_plan(identity, None, anchors=2, triplets_per_pair=4, seed=0, epoch=0).reshape(
        -1, 6
    )
    assert sorted(plan[:, 0].tolist()) == list(range(12))
    assert (identity[plan[:, 0]] == identity[plan[:, 1]]).all()
    assert (plan[:, 0] != plan[:, 1]).all()
    assert (identity[plan[:, 2:]] != identity[plan[:, :1]]).all()
    with pytest.raises(ValueError, match='no pair of cameras'):
        triplet_plan(np.arange(4), None, anchors=1, seed=0, epoch=0)


def test_triplets_repeat_few_negatives_and_fill_a_step():
    plan = triplet_plan(
        np.asarray([0, 0, 1]),
        np.asarray([0, 1, 1]),
        anchors=4,
        triplets_per_pair=3,
        seed=0,
        epoch=0,
    )
    assert plan.tolist() == [[0, 1, 2, 2, 2] * 4]


@pytest.mark.parametrize(
    ('identity', 'camera', 'message'),
    [
        ([0, 0, 1], [0, 0, 1], 'no pair of cameras among 2 identities and 2 cameras'),
        ([0, 0], [0, 1], 'no pair of cameras among 1 identities'),
        ([], [], 'among 0 identities'),
        ([0, 0, 1], [-1, -1, -1], 'and 0 cameras'),
        ([0, 1], [0], r'identity has shape \(2,\), camera \(1,\)'),
    ],
)
def test_triplets_refuse(identity, camera, message):
    with pytest.raises(ValueError, match=message):
        triplet_plan(np.asarray(identity, int), np.asarray(camera, int), anchors=1, seed=0, epoch=0)
