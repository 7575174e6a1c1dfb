"""The tf.data loader gives the pack loader's batches."""

import os

import numpy as np
import pytest

from jreid.data import Index, pack
from jreid.data.samplers import evaluation_plan, pxk_plan

SIZE = (16, 8)


@pytest.fixture
def index(tmp_path, photos) -> Index:
    names = [f'{i:02d}.jpg' for i in range(14)]
    photos(tmp_path / 'photos', names)
    paths = np.asarray([str(tmp_path / 'photos' / name) for name in names])
    return Index(
        paths,
        np.arange(14) // 3,
        np.arange(14) % 3,
        np.eye(14, 2, dtype=np.float32),
        ('hat', 'bag'),
    )


@pytest.fixture
def pipeline():
    return pytest.importorskip('jreid.data.pipeline', exc_type=ImportError)


@pytest.mark.parametrize('plan', ['pxk', 'evaluation'])
@pytest.mark.parametrize('start', [0, 1])
def test_same_batches_as_the_pack(index, tmp_path, pipeline, plan, start):
    rows = (
        pxk_plan(
            index.identity,
            identities_per_batch=2,
            images_per_identity=2,
            rng=np.random.default_rng(0),
        )
        if plan == 'pxk'
        else evaluation_plan(14, 4)
    )
    packed, kept = pack.open_pack(index, SIZE, folder=tmp_path / 'cache')
    ours = list(pipeline.batches(index, rows, size=SIZE, start=start, parallel=3))
    theirs = list(packed.batches(kept, rows, start=start))
    assert len(ours) == len(theirs) == len(rows) - start
    for one, other in zip(ours, theirs, strict=True):
        assert list(one) == list(other)
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert one[name].tobytes() == other[name].tobytes()
            assert one[name].shape == other[name].shape


def test_batches_are_the_callers(index, pipeline):
    batch = next(pipeline.batches(index, np.asarray([[1, 2]]), size=SIZE))
    batch['image'][:] = 0
    assert batch['image'].max() == 0


def test_nothing_left(index, pipeline):
    assert list(pipeline.batches(index, evaluation_plan(14, 7), size=SIZE, start=2)) == []


def test_unreadable_image_is_named(index, pipeline):
    os.truncate(index.path[5], 100)
    with pytest.raises(pack.BadImageError, match='05.jpg'):
        list(pipeline.batches(index, evaluation_plan(14, 4), size=SIZE))


def test_plan_is_checked_at_once(index, pipeline):
    with pytest.raises(ValueError, match='the index has 14'):
        pipeline.batches(index, np.asarray([[14]]), size=SIZE)
