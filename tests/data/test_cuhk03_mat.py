"""CUHK03 as shipped: a MATLAB 7.3 file of cells of images, unpacked once."""

import os
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import jreid.data
from jreid.configs import base
from jreid.data.datasets import cuhk03_mat
from jreid.training import data as opening

h5py = pytest.importorskip('h5py')

PEOPLE = (3, 2, 2, 1, 1)
"""People per camera pair."""


def pixels(kind, pair, person, number):
    """An image whose colours say where it belongs; kinds differ in size."""
    height, width = (9, 5) if kind == 'labeled' else (11, 6)
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (20 * pair, 30 * person, 10 * number)
    image[0] = 255
    return image


def write(path, sets=20):
    """Writes a file in the form of the authors', as MATLAB 7.3 lays it out."""
    with h5py.File(path, 'w') as file:
        store = file.create_group('#refs#')

        def refer(array, **attributes):
            made = store.create_dataset(f'r{len(store)}', data=array)
            made.attrs.update(attributes)
            return made.ref

        def cell(references, shape):
            array = np.empty(shape, h5py.ref_dtype)
            array.ravel()[:] = references
            return array

        for kind in ('labeled', 'detected'):
            pairs = []
            for pair, count in enumerate(PEOPLE, 1):
                people = np.empty((10, count), h5py.ref_dtype)
                for person in range(1, count + 1):
                    for number in range(1, 11):
                        # Two images of each view; one person of the labelled images has one view.
                        alone = kind == 'labeled' and (pair, person) == (5, 1) and number > 5
                        if (number - 1) % 5 < 2 and not alone:
                            reference = refer(pixels(kind, pair, person, number).T)
                        else:
                            reference = refer(np.zeros(2, np.uint64), MATLAB_empty=np.uint8(1))
                        people[number - 1, person - 1] = reference
                pairs.append(refer(people))
            file.create_dataset(kind, data=cell(pairs, (1, len(PEOPLE))))
        tests = [refer(np.array([[1, 2], [1 + i % 3, 1 + i % 2]], float)) for i in range(sets)]
        file.create_dataset('testsets', data=cell(tests, (1, sets)))
    return path


@pytest.fixture(scope='module')
def shipped(tmp_path_factory):
    root = tmp_path_factory.mktemp('cuhk03')
    (root / 'cuhk03' / 'cuhk03_release').mkdir(parents=True)
    return write(root / 'cuhk03' / 'cuhk03_release' / 'cuhk-03.mat')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('JREID_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.mark.parametrize('kind', ['labeled', 'detected'])
def test_images_are_unpacked_as_the_authors_protocol_names_them(shipped, kind):
    folder = cuhk03_mat.unpack(shipped, kind) / f'images_{kind}'
    names = sorted(os.listdir(folder))
    expected = [
        f'{pair}_{person:03d}_{1 if number < 6 else 2}_{number:02d}.png'
        for pair, count in enumerate(PEOPLE, 1)
        for person in range(1, count + 1)
        for number in (1, 2, 6, 7)
    ]
    if kind == 'labeled':
        expected = [name for name in expected if not name.startswith('5_001_2')]
    assert names == expected
    with Image.open(folder / '3_002_2_07.png') as image:
        np.testing.assert_array_equal(np.asarray(image), pixels(kind, 3, 2, 7))


def test_classic_protocol_takes_the_authors_test_sets(shipped):
    options = {'images': 'detected', 'protocol': 'classic', 'test_people': 2, 'expected': False}
    splits = jreid.data.load('cuhk03', shipped.parents[2], split=1, **options)
    assert sorted(set(splits.query.identity.tolist())) == [1002, 2002]
    assert (splits.train.identities, len(splits.train)) == (7, 28)
    assert (len(splits.query), len(splits.gallery)) == (4, 2)
    assert splits.notes == (f"the authors' test set 1, of {shipped}",)
    again = jreid.data.load('cuhk03', shipped.parent, split=1, split_seed=5, **options)
    assert again.query.path.tolist() == splits.query.path.tolist()
    # Another number of people is no set of theirs.
    drawn = jreid.data.load('cuhk03', shipped.parent, **{**options, 'test_people': 3})
    assert drawn.query.identities == 3
    assert drawn.notes == ()
    with pytest.raises(ValueError, match=r'split is 20; cuhk03 has the splits 0..19'):
        jreid.data.load('cuhk03', shipped.parent, split=20, **options)


def test_person_with_one_view_is_trained_on(shipped):
    splits = jreid.data.load(
        'cuhk03', shipped.parents[1], protocol='classic', test_people=2, expected=False
    )
    assert splits.train.identities == 7
    assert sum(path.endswith('5_001_1_01.png') for path in splits.train.path) == 1


def test_new_protocol_reads_the_unpacked_images(shipped):
    folder = cuhk03_mat.unpack(shipped, 'detected') / 'images_detected'
    names = sorted(os.listdir(folder))
    labels = np.unique([name[:5] for name in names], return_inverse=True)[1] + 1
    rows = np.arange(1, len(names) + 1)
    first = np.array([name.endswith(('_01.png', '_06.png')) for name in names])
    fields = {'filelist': np.array(names, object), 'labels': labels}
    fields |= {'camId': np.array([int(name[6]) for name in names])}
    fields |= {'train_idx': rows[labels < 6]}
    fields |= {
        'query_idx': rows[(labels >= 6) & first],
        'gallery_idx': rows[(labels >= 6) & ~first],
    }
    savemat(shipped.parents[1] / 'cuhk03_new_protocol_config_detected.mat', fields)
    splits = jreid.data.load('cuhk03', shipped.parents[2], images='detected', expected=False)
    assert (splits.train.identities, len(splits.query), len(splits.gallery)) == (5, 8, 8)


def test_unpacking_happens_once_and_whole(shipped, cache, monkeypatch):
    place = cuhk03_mat.unpack(shipped, 'labeled')
    assert place.parent == cache / 'cuhk03'
    monkeypatch.setattr(cuhk03_mat, '_write', lambda *_: pytest.fail('unpacked again'))
    assert cuhk03_mat.unpack(shipped, 'labeled') == place

    def stopped(file, kind, folder, path):
        (folder / '1_001_1_01.png').write_bytes(b'x')
        raise KeyboardInterrupt

    monkeypatch.setattr(cuhk03_mat, '_write', stopped)
    with pytest.raises(KeyboardInterrupt):
        cuhk03_mat.unpack(shipped, 'detected')
    assert sorted(os.listdir(place)) == ['detected.lock', 'images_labeled', 'labeled.lock']


def test_a_run_keeps_the_images_where_it_keeps_its_packs(shipped, cache, tmp_path):
    settings = base.get_config().data
    settings.source, settings.root = 'cuhk03', str(shipped.parents[2])
    settings.pack_folder = str(tmp_path / 'packs')
    settings.source_options = {'protocol': 'classic', 'test_people': 2, 'expected': False}
    splits, query, _ = opening.open_test(settings, 'source')
    kept = str(tmp_path / 'packs' / 'cuhk03')
    assert all(path.startswith(kept) for path in splits.query.path.tolist())
    assert np.asarray(next(iter(query.images(np.zeros((1, 1), int))))).any()
    assert not cache.exists()


def test_extracted_images_go_before_the_file(shipped, tmp_path, photos):
    photos(
        tmp_path / 'cuhk03' / 'images_detected',
        [f'1_00{i}_{v}_01.png' for i in (1, 2, 3) for v in (1, 2)],
    )
    os.link(shipped, tmp_path / 'cuhk03' / 'cuhk-03.mat')
    splits = jreid.data.load(
        'cuhk03', tmp_path, images='detected', protocol='classic', test_people=1, expected=False
    )
    assert str(tmp_path / 'cuhk03') in splits.query.path[0]


@pytest.mark.parametrize('what', ['text', 'other', 'shape', 'pair'])
def test_other_files_are_refused(tmp_path, what):
    path = tmp_path / 'cuhk-03.mat'
    if what == 'text':
        path.write_text('MATLAB 5.0 MAT-file')
    else:
        with h5py.File(path, 'w') as file:
            if what == 'shape':
                file['labeled'] = np.zeros((1, 5))
            elif what == 'pair':
                file['x'] = np.zeros((3, 4))
                references = np.empty((1, 1), h5py.ref_dtype)
                references[0, 0] = file['x'].ref
                file['labeled'] = references
    with pytest.raises(ValueError, match=r'cuhk-03.mat.* expected labeled, detected and testsets'):
        jreid.data.load('cuhk03', tmp_path)


def test_without_h5py_the_error_says_what_to_install(shipped, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(ImportError, match=r'cuhk-03.mat is HDF5, which needs h5py \(pip install'):
        jreid.data.load('cuhk03', shipped.parent)


def test_test_sets_of_another_shape_are_refused(tmp_path):
    path = tmp_path / 'cuhk-03.mat'
    with h5py.File(path, 'w') as file:
        file['x'] = np.zeros((3, 100))
        references = np.empty((1, 1), h5py.ref_dtype)
        references[0, 0] = file['x'].ref
        file['testsets'] = references
    with pytest.raises(ValueError, match=r'a test set has shape \(3, 100\)'):
        cuhk03_mat.read_test_sets(path)


def test_no_file_at_all_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'its layout: cuhk-03.mat, or images_labeled'):
        jreid.data.load('cuhk03', tmp_path)
