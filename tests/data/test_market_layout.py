"""Market-1501 and DukeMTMC-reID trees, with their attributes."""

import dataclasses
import shutil
import warnings

import numpy as np
import pytest
from scipy.io import savemat

import jreid.data
from jreid.data.datasets import dukemtmc, market1501


def write_attributes(path, *, train=(2, 7), test=(1, 3), variable='market_attribute'):
    """Writes an attribute file like the original: a struct of structs, coded 1 and 2.

    The fields of train and test are in different order.
    """

    def part(identities, fields):
        ids = np.asarray([f'{i:04d}' for i in identities], object)
        n = len(identities)
        codes = {
            'age': np.arange(n, dtype=np.uint8) + 2,
            'hat': np.asarray([1, 2] * n, np.uint8)[:n],
            'upred': np.full(n, 2, np.uint8),
        }
        return {**{f: codes[f] for f in fields}, 'image_index': ids}

    savemat(
        path,
        {
            variable: {
                'train': part(train, ['age', 'hat', 'upred']),
                'test': part(test, ['upred', 'hat', 'age']),
            }
        },
    )


def test_market(market):
    splits = jreid.data.load('market1501', market, expected=False)
    assert [p.rsplit('/', 1)[1] for p in splits.train.path] == [
        '0002_c1s1_000451_03.jpg',
        '0002_c3s1_000452_01.jpg',
        '0007_c2s1_000001_01.jpg',
    ]
    assert splits.train.identity.tolist() == [0, 0, 1]
    assert splits.train.camera.tolist() == [0, 2, 1]
    assert splits.query.identity.tolist() == [1, 3]
    assert splits.query.camera.tolist() == [5, 0]
    # Junk (-1) is gone, the distractor (0) stays.
    assert splits.gallery.identity.tolist() == [0, 1, 3, 3]
    assert splits.gallery.camera.tolist() == [4, 0, 0, 1]
    assert splits.has_cameras
    assert splits.train.attributes is None


def test_the_sets_own_folder_is_a_root_too(market):
    above = jreid.data.load('market1501', market, expected=False)
    own = jreid.data.load('market1501', market / 'Market-1501-v15.09.15', expected=False)
    assert own.gallery.path.tolist() == above.gallery.path.tolist()


def test_counts_are_checked(market):
    with pytest.warns(
        UserWarning,
        match=(
            r'train has 3 images, the set 12,936 \(-12,933\); train has 2 identities, the set 751'
        ),
    ) as record:
        jreid.data.load('market1501', market)
    assert len(record) == 1
    assert 'gallery has 4 images, the set 15,913 (-15,909)' in str(record[0].message)
    assert '5 cameras, the set has 6' in str(record[0].message)


def test_a_whole_set_gives_no_warning(market, photos, monkeypatch):
    photos(market / 'Market-1501-v15.09.15' / 'bounding_box_test', ['0000_c4s1_000005_01.jpg'])
    counts = {'train': (3, 2), 'query': (2, 2), 'gallery': (5, 3)}
    monkeypatch.setattr(market1501, 'LAYOUT', dataclasses.replace(market1501.LAYOUT, counts=counts))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(jreid.data.load('market1501', market).gallery) == 5


def test_camera_count_is_checked(market):
    (market / 'Market-1501-v15.09.15' / 'query' / '0001_c6s4_000002_00.jpg').unlink()
    with pytest.warns(UserWarning, match='4 cameras, the set has 6'):
        jreid.data.load('market1501', market)


def test_attributes_beside_the_set(market):
    write_attributes(market / 'market_attribute.mat')
    splits = jreid.data.load('market1501', market, expected=False)
    assert splits.train.attribute_names == ('age', 'hat', 'upred')
    # Identity 2 is a teenager without hat, 7 an adult with one.
    assert splits.train.attributes.tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 1]]
    assert splits.query.attributes.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert np.isnan(splits.gallery.attributes[0]).all()
    assert splits.gallery.attributes[1:].tolist() == [[0, 0, 1], [1, 1, 1], [1, 1, 1]]
    assert (
        jreid.data.load('market1501', market, expected=False, attributes=False).train.attributes
        is None
    )


def test_age_in_levels(market):
    write_attributes(market / 'market_attribute.mat')
    splits = jreid.data.load('market1501', market, expected=False, age='levels')
    assert splits.train.attribute_names == ('young', 'teenager', 'adult', 'old', 'hat', 'upred')
    assert splits.train.attributes[[0, 2], :4].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    scaled = jreid.data.load('market1501', market, expected=False, age='scaled')
    np.testing.assert_allclose(scaled.train.attributes[[0, 2], 0], [1 / 3, 2 / 3], rtol=1e-6)


def test_identity_without_attributes(market, tmp_path):
    write_attributes(tmp_path / 'other.mat', train=(2, 8))
    with pytest.raises(
        ValueError,
        match=(
            r'1 of 2 identities have no attributes in .*other.mat, e.g. \[7\]; it has 2 identities'
        ),
    ):
        jreid.data.load('market1501', market, expected=False, attributes=tmp_path / 'other.mat')


def test_attributes_demanded_but_missing(market):
    with pytest.raises(FileNotFoundError, match='market_attribute.mat lies in none of'):
        jreid.data.load('market1501', market, expected=False, attributes=True)


def test_missing_folder_says_where_and_how(market, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(
        FileNotFoundError,
        match=(
            r'Market-1501 was not found. Looked in\n  /.*: lacks bounding_box_train, query,'
            r' bounding_box_test\n(  /.*: no such folder\n)+  its layout: bounding_box_train'
        ),
    ):
        jreid.data.load('market1501', tmp_path / 'empty')
    shutil.rmtree(market / 'Market-1501-v15.09.15' / 'query')
    with pytest.raises(FileNotFoundError, match='Market-1501-v15.09.15: lacks query\n'):
        jreid.data.load('market1501', market)


def test_empty_split(market):
    shutil.rmtree(market / 'Market-1501-v15.09.15' / 'query')
    (market / 'Market-1501-v15.09.15' / 'query').mkdir()
    with pytest.raises(
        ValueError, match=r'Market-1501: the query split is empty: .*query holds no image'
    ):
        jreid.data.load('market1501', market)


@pytest.mark.parametrize(
    'name',
    [
        'foo.jpg',
        '0002_c9s1_000451_03.jpg',
        '0002_c0s1_000451_03.jpg',
        '0002_x1.jpg',
        '02_c1s1_000451_03.jpg',
    ],
)
def test_misnamed_files(market, photos, name):
    folder = market / 'Market-1501-v15.09.15' / 'bounding_box_train'
    photos(folder, [name])
    with pytest.raises(
        ValueError,
        match=(
            r'1 of 4 images in .*bounding_box_train have no identity and camera in their name;'
            rf" expected names like .*03.jpg'; e.g. '{name}'"
        ),
    ):
        jreid.data.load('market1501', market, expected=False)
    with pytest.warns(UserWarning, match='left out: 1 of 4 images'):
        assert (
            len(jreid.data.load('market1501', market, expected=False, bad_files='skip').train) == 3
        )


def test_empty_files(market):
    (market / 'Market-1501-v15.09.15' / 'query' / '0001_c6s4_000002_00.jpg').write_bytes(b'')
    with pytest.raises(
        ValueError, match="1 of 2 images in .*query are empty files; e.g. '0001_c6s4_000002_00.jpg'"
    ):
        jreid.data.load('market1501', market, expected=False)
    with pytest.warns(UserWarning, match='left out'):
        assert jreid.data.load(
            'market1501', market, expected=False, bad_files='skip'
        ).query.identity.tolist() == [3]


def test_hidden_files_are_no_images(market):
    (market / 'Market-1501-v15.09.15' / 'query' / '._0001_c6s4_000002_00.jpg').write_bytes(
        b'resource fork'
    )
    assert len(jreid.data.load('market1501', market, expected=False).query) == 2


def test_bad_files_is_checked(market):
    with pytest.raises(ValueError, match="bad_files is 'ignore'; expected 'error' or 'skip'"):
        jreid.data.load('market1501', market, bad_files='ignore')


def test_duke(tmp_path, photos):
    tree = tmp_path / 'DukeMTMC-reID'
    photos(tree / 'bounding_box_train', ['0008_c8_f0046182.jpg', '0001_c2_f0046182.jpg'])
    photos(tree / 'query', ['0005_c2_f0046985.jpg'])
    photos(tree / 'bounding_box_test', ['0005_c1_f0046985.jpg', '7139_c3_f0046985.jpg'])
    write_attributes(
        tmp_path / 'duke_attribute.mat', train=(1, 8), test=(5, 7139), variable='duke_attribute'
    )
    splits = jreid.data.load('dukemtmc', tmp_path, expected=False)
    assert splits.train.identity.tolist() == [0, 1]
    assert splits.train.camera.tolist() == [1, 7]
    assert splits.gallery.identity.tolist() == [5, 7139]
    assert splits.gallery.attributes.shape == (2, 3)
    with pytest.warns(
        UserWarning, match=r'dukemtmc is not the whole set: train has 2 images, the set 16,522'
    ):
        jreid.data.load('dukemtmc', tmp_path)


def test_expected_counts_are_the_published_ones():
    assert market1501.LAYOUT.counts == {
        'train': (12936, 751),
        'query': (3368, 750),
        'gallery': (15913, 751),
    }
    assert dukemtmc.LAYOUT.counts == {
        'train': (16522, 702),
        'query': (2228, 702),
        'gallery': (17661, 1110),
    }
