"""Index and Splits: what they hold, and what they refuse."""

import numpy as np
import pytest

from jreid.data import Index, Splits


def make(identity, camera=None, **more) -> Index:
    n = len(identity)
    return Index(
        np.asarray([f'/photos/{i}.jpg' for i in range(n)]),
        np.asarray(identity),
        np.asarray([0] * n if camera is None else camera),
        **more,
    )


def attributed() -> Index:
    masks = np.asarray(['/masks/0.png', '/masks/1.png', '/masks/2.png'])
    return make(
        [1, 0, 1],
        [2, 0, 1],
        attributes=np.asarray([[0, 1], [1, 1], [0.5, 0]]),
        attribute_names=('hat', 'bag'),
        mask_path=masks,
    )


def test_types_and_sizes():
    index = attributed()
    assert (len(index), index.identities, index.cameras) == (3, 2, 3)
    assert (index.identity.dtype, index.camera.dtype, index.attributes.dtype) == (
        np.int32,
        np.int32,
        np.float32,
    )
    assert make([-1, 5, 5, 9]).identities == 2


def test_arrays_are_copied_and_read_only():
    identity = np.asarray([0, 1])
    index = make(identity)
    identity[0] = 7
    assert index.identity.tolist() == [0, 1]
    with pytest.raises(ValueError, match='read-only'):
        index.camera[0] = 1


@pytest.mark.parametrize('rows', [[2, 0, 2], np.asarray([2, 0, 2])])
def test_take(rows):
    taken = attributed().take(rows)
    assert taken.path.tolist() == ['/photos/2.jpg', '/photos/0.jpg', '/photos/2.jpg']
    assert taken.identity.tolist() == [1, 1, 1]
    assert taken.camera.tolist() == [1, 2, 1]
    assert taken.attributes.tolist() == [[0.5, 0], [0, 1], [0.5, 0]]
    assert taken.mask_path.tolist() == ['/masks/2.png', '/masks/0.png', '/masks/2.png']


def test_take_by_mask_and_of_nothing():
    index = attributed()
    assert index.take(index.identity == 1).path.tolist() == ['/photos/0.jpg', '/photos/2.jpg']
    assert len(index.take([])) == 0
    assert index.take([]).attributes.shape == (0, 2)
    with pytest.raises(ValueError, match='cannot pick from 3 rows'):
        index.take(np.asarray([True, False]))


def test_without_labels_keeps_cameras_only():
    hidden = attributed().without_labels()
    assert hidden.identity.tolist() == [-1, -1, -1]
    assert hidden.camera.tolist() == [2, 0, 1]
    assert hidden.attributes is None
    assert hidden.mask_path is None
    assert hidden.attribute_names == ()


def test_labels_of_a_batch():
    batch = attributed().labels(np.asarray([2, -1]))
    assert {k: v.tolist() for k, v in batch.items()} == {
        'identity': [1, -1],
        'camera': [1, -1],
        'row': [2, -1],
        'attributes': [[0.5, 0], [0, 0]],
    }
    assert [batch[k].dtype for k in ('identity', 'camera', 'row', 'attributes')] == [
        np.int32,
        np.int32,
        np.int32,
        np.float32,
    ]
    assert 'attributes' not in make([0, 1]).labels(np.asarray([0]))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'identity': [0, 1]}, 'identity has 2 entries, path has 3'),
        ({'camera': [0] * 4}, 'camera has 4 entries, path has 3'),
        ({'mask_path': ['/m.png']}, 'mask_path has 1 entries'),
        ({'mask_path': ['m.png'] * 3}, 'mask_path holds .* expected absolute'),
        ({'path': ['a.jpg', '/b.jpg', '/c.jpg']}, "path holds 'a.jpg'; expected absolute"),
        ({'path': [['/a.jpg']]}, r'path has shape \(1, 1\)'),
        ({'identity': [0.0, 1.0, 2.0]}, 'identity has type float64; expected integers'),
        ({'identity': [0, -2, 1]}, r'identity holds -2\.\.1'),
        ({'camera': [0, 2**31, 1]}, 'camera holds'),
        ({'identity': [[0, 1, 2]]}, r'identity has shape \(1, 3\)'),
        ({'attributes': np.zeros((3, 1))}, r'attributes has shape \(3, 1\); expected \(3, 0\)'),
        ({'attribute_names': ('hat',)}, 'names 1 columns, but attributes is None'),
        ({'attributes': [[0], [2], [1]], 'attribute_names': ('hat',)}, "'hat' is 2.0 in row 1"),
        (
            {'attributes': [[0, np.nan], [1, 1], [1, 1]], 'attribute_names': ('hat', 'bag')},
            '1 rows with some NaN',
        ),
    ],
)
def test_refuses(change, message):
    values = {
        'path': ['/a.jpg', '/b.jpg', '/c.jpg'],
        'identity': [0, 1, 2],
        'camera': [0, 0, 1],
    } | change
    with pytest.raises(ValueError, match=message):
        Index(**values)


@pytest.mark.parametrize(
    ('plan', 'start', 'message'),
    [
        (np.zeros((2, 2)), 0, 'the plan is float64'),
        (np.zeros(4, int), 0, r'shape \(4,\)'),
        (np.asarray([[0, 3]]), 0, r'rows 0\.\.3; the index has 3'),
        (np.asarray([[-2, 1]]), 0, 'rows -2'),
        (np.asarray([[0, 1]]), 2, r'start step 2 is outside 0\.\.1'),
    ],
)
def test_check_plan_refuses(plan, start, message):
    with pytest.raises(ValueError, match=message):
        attributed().check_plan(plan, start)


def test_summary_counts_each_split():
    lines = (
        Splits('mine', attributed(), make([5]), make([5, 9, 9, 5], [0, 1, 2, 1]), has_cameras=True)
        .summary()
        .splitlines()
    )
    assert [line.split() for line in lines[:4]] == [
        ['mine', 'images', 'identities', 'cameras'],
        ['train', '3', '2', '3'],
        ['query', '1', '1', '1'],
        ['gallery', '4', '2', '3'],
    ]
    assert '2 attributes' in lines[4]


def test_summary_says_that_cameras_are_unknown():
    none = make([0, 1], [-1, -1])
    text = Splits('mine', none, none, none, has_cameras=False).summary()
    assert text.count('unknown') == 4
    assert 'own camera are not left out' in text


def test_train_may_be_unlabelled_and_tests_absent():
    splits = Splits('target', make([0, 1]).without_labels(), make([]), make([]), has_cameras=True)
    assert splits.train.identities == 0


@pytest.mark.parametrize(
    ('splits', 'message'),
    [
        ({'train': make([])}, 'the training split has no image'),
        ({'query': make([])}, '0 query and 2 gallery images'),
        ({'gallery': make([])}, '2 query and 0 gallery images'),
        ({'train': make([0, 2])}, 'not dense: 2 identities, the largest is 2, expected 1'),
        ({'query': make([0, 1], [0, -1])}, '1 of 2 query images have no camera'),
        ({'has_cameras': False}, '2 train images have a camera'),
    ],
)
def test_splits_refuse(splits, message):
    good = make([0, 1])
    with pytest.raises(ValueError, match=message):
        Splits(
            **(
                {'name': 'mine', 'train': good, 'query': good, 'gallery': good, 'has_cameras': True}
                | splits
            )
        )
