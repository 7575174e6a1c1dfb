"""Opening the data: loaders that agree, unreadable files, and what the target may show."""

import pathlib
import shutil

import jax
import numpy as np
import pytest
from toy import toy

from jreid.data import Index, Splits
from jreid.data.decoding import BadImageError, decode
from jreid.engine import feeds
from jreid.methods.common import plans
from jreid.run.checkpoints import Checkpoints
from jreid.training import data as opening
from jreid.training import loop as trainer


def opened(config, **edits):
    for name, value in edits.items():
        config.data[name] = value
    return opening.open_data(config.data, select_on_source=False)


def test_loaders_give_the_same_images(tiny_config):
    plan = np.random.default_rng(0).integers(0, 96, (3, 4))
    found = {}
    for loader in ('pack', 'device', 'tf'):
        data = opened(tiny_config(), loader=loader)
        found[loader] = [np.asarray(images) for images in data.target_train.images(plan)]
        assert [images.dtype for images in found[loader]] == [np.uint8] * 3
    assert found['pack'][0].shape == (4, 32, 16, 3)
    assert found['pack'][0].std() > 10
    for loader in ('device', 'tf'):
        np.testing.assert_array_equal(found[loader], found['pack'], err_msg=loader)
    tail = [np.asarray(images) for images in data.target_train.images(plan[1:])]
    np.testing.assert_array_equal(tail, found['pack'][1:])


def test_device_is_chosen_by_size(tiny_config, monkeypatch):
    assert not feeds.fits_device(1)  # a CPU

    class Card:
        def __init__(self, size):
            self.size = size

        def memory_stats(self):
            return {'bytes_limit': self.size}

    size = 96 * 32 * 16 * 3
    for memory, fits in (
        (size / feeds.DEVICE_SHARE + 1, True),
        (size / feeds.DEVICE_SHARE - 100, False),
    ):
        with monkeypatch.context() as patch:
            patch.setattr('jax.default_backend', lambda: 'gpu')
            patch.setattr('jax.local_devices', lambda memory=memory: [Card(memory)])
            assert feeds.fits_device(size) == fits
    assert opened(tiny_config()).source_train.pool is None
    with monkeypatch.context() as patch:
        patch.setattr(feeds, 'fits_device', lambda size: True)
        data = opened(tiny_config())
    assert data.source_train.pool.shape == (96, 32, 16, 3)
    plan = np.zeros((3, 4), np.int32)
    assert list(data.source_train.for_steps(plan)) == [None] * 3
    part = feeds.part(
        plans.plain('source', 4),
        data.source_train,
        data.source_train.index.identity,
        plan[0],
        None,
    )
    assert 'image' not in part


def test_target_is_opened_without_its_labels(tiny_config):
    data = opened(tiny_config())
    assert set(data.target_train.index.identity) == {-1}
    assert set(data.target_train.index.camera) == {0, 1}
    assert data.target_train.index.attributes is None
    assert data.source_query is None
    problem = data.problem((32, 16), given_identities=False)
    assert (problem.source_identities, problem.source_images, problem.target_images) == (8, 96, 96)
    assert problem.target_identities is None
    assert data.problem((32, 16), given_identities=True).target_identities == 8
    assert not problem.target_labelled
    assert set(feeds.first_labels(data.target_train.index, 1)) == {-1}
    assert feeds.first_labels(data.target_train.index, 3).shape == (96, 3)


def test_target_keeps_its_labels_where_training_is_to_read_them(tiny_config):
    data = opened(tiny_config(), target_labels=True)
    assert data.problem((32, 16), given_identities=False).target_labelled
    np.testing.assert_array_equal(
        feeds.first_labels(data.target_train.index, 1), data.target.train.identity
    )


@pytest.mark.slow
def test_runs_from_pack_and_device_end_alike(tiny_config, tmp_path):
    ends = {}
    for loader in ('pack', 'device'):
        config = tiny_config()
        config.data.loader = loader
        trainer.train(config, tmp_path / loader, edit=toy)
        ends[loader] = (
            Checkpoints(tmp_path / loader / 'checkpoints', read_only=True)
            .restore_model()
            .tree['params']
        )
        metrics = (tmp_path / loader / 'metrics.jsonl').read_bytes()
    assert metrics == (tmp_path / 'pack' / 'metrics.jsonl').read_bytes()
    jax.tree.map(np.testing.assert_array_equal, ends['pack'], ends['device'])


@pytest.fixture
def damaged(people, tmp_path):
    """The target with one training image and one gallery image that are no images."""
    shutil.copytree(people / 'two', tmp_path / 'two')
    broken = []
    for part in ('bounding_box_train', 'bounding_box_test'):
        path = sorted((tmp_path / 'two' / part).iterdir())[5]
        path.write_bytes(b'no image')
        broken.append(str(path))
    return tmp_path / 'two', broken


def test_unreadable_image_stops_the_run_by_name(tiny_config, damaged):
    with pytest.raises(BadImageError, match=f'1 of 96 images cannot be read: {damaged[1][0]}'):
        opened(tiny_config(), target_root=str(damaged[0]))


@pytest.mark.parametrize('loader', ['pack', 'device'])
def test_unreadable_images_are_left_out_on_demand(loader, tiny_config, damaged):
    data = opened(tiny_config(), target_root=str(damaged[0]), bad_files='skip', loader=loader)
    assert len(data.target_train.index) == 95
    assert damaged[1][0] not in set(data.target_train.index.path)
    assert len(data.test.gallery.index) == 47
    assert data.problem((32, 16), given_identities=False).target_images == 95
    # Rows are those of the index without it.
    images = next(iter(data.target_train.images(np.arange(95)[None])))
    for row in (0, 4, 5, 94):
        np.testing.assert_array_equal(
            images[row], decode(data.target_train.index.path[row], (32, 16))
        )


def test_settings_that_no_loader_has_are_refused(tiny_config, damaged):
    with pytest.raises(
        ValueError, match="data.loader is 'packs'; expected 'auto' or 'pack' or 'device' or 'tf'"
    ):
        opened(tiny_config(), loader='packs')
    with pytest.raises(
        ValueError, match="data.bad_files='skip' needs data.loader 'auto', 'pack' or 'device'"
    ):
        opened(tiny_config(), loader='tf', bad_files='skip')
    with pytest.raises(ValueError, match="bad_files is 'ignore'; expected 'error' or 'skip'"):
        opened(tiny_config(), bad_files='ignore')


def test_misnamed_and_empty_images_are_refused_or_left_out_by_data_bad_files(
    tiny_config, people, tmp_path
):
    """`data.bad_files` reaches the loaders too, not the pack alone."""
    shutil.copytree(people / 'two', tmp_path / 'two')
    first, second = sorted((tmp_path / 'two' / 'bounding_box_train').iterdir())[:2]
    first.rename(first.with_name('no-identity.jpg'))
    with pytest.raises(
        ValueError,
        match=(
            r'1 of 96 images in .*have no identity and camera in their'
            r" name.*'no-identity.jpg'.*bad_files='skip'"
        ),
    ):
        opened(tiny_config(), target_root=str(tmp_path / 'two'))
    with pytest.warns(UserWarning, match="left out: 1 of 96 images in .*'no-identity.jpg'"):
        data = opened(tiny_config(), target_root=str(tmp_path / 'two'), bad_files='skip')
    assert len(data.target_train.index) == 95
    second.write_bytes(b'')
    with pytest.warns(UserWarning, match='left out') as told:
        data = opened(tiny_config(), target_root=str(tmp_path / 'two'), bad_files='skip')
    assert any(
        'are empty files' in str(warning.message) and second.name in str(warning.message)
        for warning in told
    )
    assert len(data.target_train.index) == 94
    # What the loader's own options say wins.
    config = tiny_config()
    config.data.target_options.bad_files = 'error'
    with pytest.raises(ValueError, match='have no identity'):
        opened(config, target_root=str(tmp_path / 'two'), bad_files='skip')


def test_truncated_images_are_refused_by_name_or_left_out(tiny_config, people, tmp_path):
    shutil.copytree(people / 'one', tmp_path / 'one')
    paths = sorted((tmp_path / 'one' / 'bounding_box_train').iterdir())[3:5]
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        BadImageError, match=f'2 of 96 images cannot be read: {paths[0]}: .*; {paths[1]}'
    ):
        opened(tiny_config(), source_root=str(tmp_path / 'one'))
    data = opened(tiny_config(), source_root=str(tmp_path / 'one'), bad_files='skip')
    assert len(data.source_train.index) == 94


def test_test_split_without_a_match_is_told_before_training(tiny_config, people, tmp_path, caplog):
    def target(keep):
        shutil.rmtree(tmp_path / 'two', ignore_errors=True)
        shutil.copytree(people / 'two', tmp_path / 'two')
        for part in ('bounding_box_test', 'query'):
            for path in (tmp_path / 'two' / part).iterdir():
                if not keep(part, path.name):
                    path.unlink()
        return str(tmp_path / 'two')

    with pytest.raises(
        ValueError,
        match=(
            r'market1501 cannot be evaluated: none of 6 queries has an image of the same identity'
            r' of another camera.*1 camera, and .*own camera'
        ),
    ):
        opened(tiny_config(), target_root=target(lambda part, name: '_c1' in name))
    with caplog.at_level('WARNING', 'jreid'):
        # half of the queries are of camera 1
        opened(
            tiny_config(), target_root=target(lambda part, name: part == 'query' or '_c1' in name)
        )
    assert (
        'market1501: 6 of 12 queries have no image of the same identity of another camera than the'
        " query's; they are excluded from all metrics" in caplog.text
    )
    with pytest.raises(ValueError, match='the query split is empty'):
        opened(tiny_config(), target_root=target(lambda part, name: part != 'query'))


def test_match_rule_of_sets_without_cameras():
    def splits(query, gallery, cameras=False):
        def made(identities):
            paths = np.array([f'/{i}.jpg' for i in range(len(identities))])
            return Index(
                paths,
                np.asarray(identities),
                np.zeros(len(identities), int) if cameras else np.full(len(identities), -1),
            )

        return Splits('mine', made([0, 0]), made(query), made(gallery), has_cameras=cameras)

    opening.check_matches(splits([3], [3, 4]))
    opening.check_matches(splits([-1], [-1]))  # a teacher's set: nobody is searched for
    with pytest.raises(
        ValueError, match='none of 1 queries has an image of the same identity in the gallery$'
    ):
        opening.check_matches(splits([3], [4, 5]))
    with pytest.raises(ValueError, match='leave them out'):
        opening.check_matches(splits([3], [3, 4], cameras=True))


def test_missing_folder_of_a_set_is_named(tiny_config, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        opened(tiny_config(), target_root=str(pathlib.Path(tmp_path) / 'nowhere'))
