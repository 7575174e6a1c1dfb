"""Folder names, extra files and names of the other sets, as their archives hold them."""

import numpy as np
import pytest
from scipy.io import savemat

import jreid.data

VIPER = [f'cam_{c}/{p:03d}_{d}.bmp' for c, d in (('a', 0), ('b', 180)) for p in (0, 1, 872, 873)]
GRID = [
    *(f'probe/{p:04d}_1_25004_107_32_106_221.jpeg' for p in range(1, 5)),
    *(f'gallery/{p:04d}_2_25023_116_134_128_330.jpeg' for p in range(1, 5)),
    'gallery/0000_1_25698_101_16_87_246.jpeg',
]


@pytest.mark.parametrize(
    ('name', 'folder', 'files'),
    [
        ('viper', 'viper/VIPeR', VIPER),
        ('viper', 'VIPeR.v1.0/VIPeR', [name.replace('.bmp', '.BMP') for name in VIPER]),
        ('grid', 'grid/underground_reid', GRID),
        ('prid2011', 'prid2011/prid_2011/single_shot', None),
        ('ilids', 'ilids/i-LIDS_Pedestrian/Persons', None),
        ('cuhk01', 'cuhk01/campus', None),
        ('pku', 'PKU-Reid-Dataset/PKUv1a_128x48', None),
    ],
)
def test_sets_are_found_where_their_archives_put_them(tmp_path, photos, name, folder, files):
    files = (
        files
        or {
            'prid2011': [f'cam_{c}/person_{p:04d}.png' for c in 'ab' for p in range(1, 5)],
            'ilids': [f'{p:04d}{k:03d}.jpg' for p in range(1, 5) for k in (1, 2, 3)],
            'cuhk01': [f'{p:04d}{k:03d}.png' for p in range(1, 105) for k in (1, 3)],
            'pku': [f'{p:03d}_0{c}_{k}.png' for p in range(1, 5) for c in (1, 2) for k in (1, 2)],
        }[name]
    )
    photos(tmp_path / folder, files)
    (tmp_path / folder / 'README.txt').write_text('no image')
    (tmp_path / folder / 'Thumbs.db').write_bytes(b'no image')
    for file in files:  # what a Mac's archiver adds
        fork = tmp_path / '__MACOSX' / folder / file
        fork.parent.mkdir(parents=True, exist_ok=True)
        fork.with_name(f'._{fork.name}').write_bytes(b'a fork')
    options = {} if name == 'pku' else {'expected': False}
    splits = jreid.data.load(name, tmp_path, **options)
    assert splits.train.path[0].startswith(str(tmp_path / folder))
    assert len(splits.query) > 0


def test_tracks_of_prid2011_are_no_single_shots(tmp_path, photos):
    tracks = [f'multi_shot/cam_{c}/person_{p:04d}/0001.png' for c in 'ab' for p in (1, 2)]
    single = [f'single_shot/cam_{c}/person_{p:04d}.png' for c in 'ab' for p in range(1, 5)]
    photos(tmp_path / 'prid_2011', [*tracks, *single])
    splits = jreid.data.load('prid2011', tmp_path / 'prid_2011', expected=False)
    assert all('single_shot' in path for path in splits.train.path)
    with pytest.raises(ValueError, match=r'multi_shot holds tracks .* single_shot beside it'):
        jreid.data.load('prid2011', tmp_path / 'prid_2011' / 'multi_shot')


@pytest.fixture
def grid(tmp_path, photos):
    """Returns a function (people of each split) that writes the authors' partitions."""
    photos(tmp_path / 'underground_reid', GRID)

    def write(*trained):
        cell = np.empty((1, len(trained)), object)
        for i, people in enumerate(trained):
            cell[0, i] = {'probeImIdx': 2 * np.array(people), 'personIdx': np.array(people)}
        path = tmp_path / 'underground_reid' / 'features_and_partitions.mat'
        savemat(path, {'trainIdxAll': cell, 'features': np.zeros((2, 2))})
        return tmp_path

    return write


def test_splits_of_grid_are_the_authors(grid):
    root = grid([1, 2], [2, 4])
    for split, people in enumerate(([3, 4], [1, 3])):
        splits = jreid.data.load('grid', root, split=split, expected=False)
        assert splits.query.identity.tolist() == people
        assert sorted(splits.gallery.identity.tolist()) == [0, *people]
        assert splits.notes[0].startswith(f"the authors' split {split}, of {root}")
    with pytest.raises(ValueError, match=r'split is 2; grid has the splits 0..1'):
        jreid.data.load('grid', root, split=2, expected=False)
    assert jreid.data.load(
        'grid', root, expected=False, write_splits=str(root / 'splits.json')
    ).query.identity.tolist() == [3, 4]


def test_partitions_of_grid_that_do_not_fit(grid):
    root = grid([1, 9])
    with pytest.raises(ValueError, match=r'names 1 people who are not in both folders, e.g. \[9\]'):
        jreid.data.load('grid', root, expected=False)
    (root / 'underground_reid' / 'features_and_partitions.mat').write_bytes(b'x')
    with pytest.raises(ValueError, match='cannot be read: .* Where it is damaged, remove it'):
        jreid.data.load('grid', root, expected=False)


def test_ninth_camera_of_grid_is_none(grid, photos):
    root = grid([1, 2])
    photos(root / 'underground_reid' / 'probe', ['0001_9_1.jpeg'])
    with pytest.raises(ValueError, match='1 of 5 images .* have no identity and camera'):
        jreid.data.load('grid', root, expected=False)


@pytest.mark.parametrize('folder', ['MSMT17_V1', 'MSMT17_V2', 'msmt17/MSMT17_V2'])
def test_lists_of_both_versions_of_msmt17(tmp_path, photos, folder):
    parts = ('mask_train_v2', 'mask_test_v2') if 'V2' in folder else ('train', 'test')
    train = ['0000/0000_000_01_0303morning_0015_0.jpg', '0000/0000_001_02_0303noon_0008_0_ex.jpg']
    test = ['0000/0000_000_01_0113morning_0015_0.jpg', '0000/0000_001_15_0113noon_0008_0_ex.jpg']
    root = tmp_path / folder
    photos(root / parts[0], train)
    photos(root / parts[1], test)
    (root / parts[0] / '0000' / '._0000_000_01_0303morning_0015_0.jpg').write_bytes(b'a fork')
    for name, lines in (
        ('train', train[:1]),
        ('val', train[1:]),
        ('query', test[:1]),
        ('gallery', test[1:]),
    ):
        text = ''.join(f'{line} 0\n' for line in lines)
        if name == 'query':  # as Windows saves it
            text = '\ufeff' + text.replace('/', '\\').replace(' ', '\t').replace('\n', '\r\n')
        (root / f'list_{name}.txt').write_bytes(text.encode())
    splits = jreid.data.load('msmt17', tmp_path, train='train+val', expected=False)
    assert splits.train.camera.tolist() == [0, 1]
    assert (splits.query.camera.tolist(), splits.gallery.camera.tolist()) == ([0], [14])


@pytest.mark.parametrize('folder', ['DukeMTMC-attribute', 'DukeMTMC-attribute-master'])
def test_attributes_are_found_in_a_copy_of_their_repository(tmp_path, photos, folder, shared_data):
    for split in ('bounding_box_train', 'query', 'bounding_box_test'):
        photos(tmp_path / 'DukeMTMC-reID' / split, ['0001_c2_f0046182.jpg'])
    (tmp_path / folder).mkdir()
    raw = (shared_data / 'annotations' / 'duke_attribute.mat').read_bytes()
    (tmp_path / folder / 'duke_attribute.mat').write_bytes(raw)
    for split in ('query', 'bounding_box_test'):
        (tmp_path / 'DukeMTMC-reID' / split / '0001_c2_f0046182.jpg').rename(
            tmp_path / 'DukeMTMC-reID' / split / '0005_c2_f0046182.jpg'
        )
    splits = jreid.data.load('dukemtmc', tmp_path, expected=False)
    assert len(splits.train.attribute_names) == 23


def test_annotation_of_rap_may_lie_beside_the_images(tmp_path):
    (tmp_path / 'RAP' / 'RAP_dataset').mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match='lacks RAP_annotation/RAP_annotation.mat. Its lay'):
        jreid.data.load('rap', tmp_path)
    (tmp_path / 'RAP' / 'RAP_annotation.mat').write_bytes(b'x')
    with pytest.raises(ValueError, match='RAP/RAP_annotation.mat cannot be read'):
        jreid.data.load('rap', tmp_path)
