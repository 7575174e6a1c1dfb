"""The sets as TensorFlow Datasets: built from small trees, read back, and used in training."""

import pathlib
import socket

import numpy as np
import pytest
from test_market_layout import write_attributes

import jreid.data
from jreid.data.samplers import pxk_plan
from jreid.training import data as opening

tensorflow_datasets = pytest.importorskip('tensorflow_datasets')

pytestmark = [
    # TensorFlow and protobuf raise these warnings.
    pytest.mark.filterwarnings('ignore::DeprecationWarning'),
    pytest.mark.filterwarnings('ignore::ResourceWarning'),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Fails a test that opens a connection, and gives each test a cache folder of its own."""

    def refused(*arguments, **options):
        raise AssertionError('a connection was opened')

    monkeypatch.setattr(socket.socket, 'connect', refused)
    monkeypatch.setattr(socket, 'getaddrinfo', refused)
    monkeypatch.setenv('JREID_CACHE', str(tmp_path / 'cache'))


def prepared(name, manual, data_dir):
    """Returns what `tfds.load` gives after the import, built from `manual`."""
    import jreid.data.tfds  # noqa: F401

    config = tensorflow_datasets.download.DownloadConfig(manual_dir=str(manual))
    options = {
        'download_and_prepare_kwargs': {'download_config': config},
        'data_dir': str(data_dir),
    }
    return tensorflow_datasets.load(name, with_info=True, **options)


def market_with_attributes(market):
    write_attributes(market / 'Market-1501-v15.09.15' / 'market_attribute.mat')
    return market


@pytest.fixture
def manual(tmp_path, photos, market):
    """Returns a function from a builder's name to its manual_dir and the set from its folder."""

    def make(name):
        root = tmp_path / 'manual'
        if name == 'market1501':
            market_with_attributes(market)
            return market, jreid.data.load('market1501', market, expected=False)
        if name == 'dukemtmc':
            parts = {
                'bounding_box_train': ('0001_c2_f0046182.jpg', '0005_c1_f0046183.jpg'),
                'query': ('0002_c3_f0000001.jpg',),
            }
            parts['bounding_box_test'] = ('0002_c4_f0000001.jpg', '0009_c4_f0000002.jpg')
            photos(
                root / 'DukeMTMC-reID',
                [f'{folder}/{base}' for folder, bases in parts.items() for base in bases],
            )
            return root, jreid.data.load(name, root, expected=False)
        if name == 'ward/split3':
            photos(
                root / 'ward',
                [
                    f'{person:04d}{camera:04d}{frame:04d}.jpg'
                    for person in range(1, 7)
                    for camera in (1, 2, 3)
                    for frame in (1, 2)
                ],
            )
            return root, jreid.data.load('ward', root, split_seed=3)
        if name == 'pku':
            photos(
                root / 'pku',
                [
                    f'{person:03d}_{camera:02d}_{o}.jpg'
                    for person in range(1, 5)
                    for camera in (1, 2)
                    for o in (1, 2)
                ],
            )
            return root, jreid.data.load('pku', root)
        from jreid.synthetic import write_tree

        sizes = {
            'identities': 2,
            'test_identities': 2,
            'cameras': 2,
            'images_per_camera': 2,
            'distractors': 1,
            'junk': 0,
            'size': (32, 16),
        }
        write_tree(root / 'campus', 'campus', **sizes, workers=1, progress=False)
        return root, jreid.data.load('synthetic', root, domain='campus')

    return make


NAMES = ('market1501', 'dukemtmc', 'ward/split3', 'pku', 'synthetic/campus')


@pytest.mark.filterwarnings('ignore:.*is not the whole set:UserWarning')
@pytest.mark.parametrize(
    'name',
    [pytest.param(n, marks=pytest.mark.slow if n in ('dukemtmc', 'pku') else ()) for n in NAMES],
)
def test_set_is_built_and_read_back(name, manual, tmp_path):
    folder, expected = manual(name)
    datasets, info = prepared(name, folder, tmp_path / 'tfds')
    assert set(info.splits) == {'train', 'query', 'gallery'}
    assert {'image', 'identity', 'camera', 'attributes'} <= set(info.features)
    for split, index in expected.parts():
        records = list(tensorflow_datasets.as_numpy(datasets[split]))
        assert [r['name'].decode() for r in records] == [
            pathlib.Path(path).name for path in index.path
        ]
        assert [r['identity'] for r in records] == index.identity.tolist()
        assert [r['camera'] for r in records] == index.camera.tolist()
        assert all(r['image'].dtype == np.uint8 and r['image'].shape[2] == 3 for r in records)
        for row, record in enumerate(records):
            attributes = np.zeros(0) if index.attributes is None else index.attributes[row]
            np.testing.assert_array_equal(record['attributes'], attributes)
    # The prepared records alone give the same splits, in every array.
    again = jreid.data.load('tfds', tmp_path / 'tfds', builder=name)
    assert (again.name, again.has_cameras) == (expected.name, expected.has_cameras)
    for (_, ours), (_, theirs) in zip(again.parts(), expected.parts(), strict=True):
        np.testing.assert_array_equal(ours.identity, theirs.identity)
        np.testing.assert_array_equal(ours.camera, theirs.camera)
        assert ours.attribute_names == theirs.attribute_names
        if theirs.attributes is None:
            assert ours.attributes is None
        else:
            np.testing.assert_array_equal(ours.attributes, theirs.attributes)
        assert (ours.mask_path is None) == (theirs.mask_path is None)
        pairs = [
            (ours.path, theirs.path),
            *([(ours.mask_path, theirs.mask_path)] if theirs.mask_path is not None else []),
        ]
        for one, two in pairs:
            assert [pathlib.Path(p).name for p in one] == [pathlib.Path(p).name for p in two]
            assert [pathlib.Path(p).read_bytes() for p in one] == [
                pathlib.Path(p).read_bytes() for p in two
            ]


def test_training_reads_the_same_batches_as_from_the_folder(tiny_config, people, tmp_path):
    import jreid.data.tfds  # noqa: F401

    folder, builder = tiny_config(), tiny_config()
    builder.data.source, builder.data.source_root = 'tfds', str(tmp_path / 'tfds')
    builder.data.source_options = {'builder': 'market1501', 'manual_dir': str(people / 'one')}
    with pytest.warns(UserWarning, match='market1501 is not the whole set'):
        opened = [
            opening.open_data(config.data, select_on_source=True) for config in (folder, builder)
        ]
    assert opened[0].source.name == opened[1].source.name
    batches = []
    for data in opened:
        feed = data.source_train
        plan = pxk_plan(
            feed.index.identity,
            identities_per_batch=2,
            images_per_identity=4,
            rng=np.random.default_rng((1, 2)),
        )[:5]
        assert len(plan) == 5
        batches.append(
            [
                {'image': np.asarray(images), **feed.index.labels(rows)}
                for rows, images in zip(plan, feed.images(plan), strict=True)
            ]
        )
    for one, two in zip(*batches, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert batches[0][0]['image'].std() > 10
    np.testing.assert_array_equal(*(data.source_query.index.identity for data in opened))


def test_missing_parts_are_named(tmp_path, people):
    with pytest.raises(
        ValueError,
        match=(
            r'needs the name of a builder: --config.data.source=tfds'
            r' --config.data.source_options.builder=market1501'
        ),
    ):
        jreid.data.load('tfds', tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r'market1501 is not prepared in .*download_and_prepare.*manual_dir'
    ):
        jreid.data.load('tfds', tmp_path, builder='market1501')
    with pytest.raises(
        ValueError, match=r"no 'market15'.*jreid has market1501, dukemtmc, ward, pku, synthetic"
    ):
        jreid.data.load('tfds', tmp_path, builder='market15')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(
        FileNotFoundError,
        match=(
            r'manual_dir .*empty is missing or empty. Nothing is downloaded:'
            r' .*Market-1501-v15.09.15'
        ),
    ):
        jreid.data.load(
            'tfds', tmp_path / 'other', builder='market1501', manual_dir=str(tmp_path / 'empty')
        )
