"""The two real sets without an official split."""

import os

import numpy as np
import pytest

import jreid.data


def everything(splits):
    return np.concatenate([index.path for _, index in splits.parts()])


@pytest.mark.parametrize(
    ('name', 'images', 'people', 'cameras'), [('ward', 2496, 70, 3), ('pku', 1184, 74, 2)]
)
def test_real_counts_and_split(shared_data, name, images, people, cameras):
    splits = jreid.data.load(name, shared_data)
    paths = everything(splits)
    assert len(paths) == len(set(paths)) == images
    assert splits.train.identities == people // 2
    assert splits.gallery.identities == people - people // 2
    assert splits.train.cameras == splits.gallery.cameras == splits.query.cameras == cameras
    # One query per test identity and camera, each with a match in another camera.
    pairs = list(zip(splits.query.identity.tolist(), splits.query.camera.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == people // 2 * cameras
    gallery = set(
        zip(splits.gallery.identity.tolist(), splits.gallery.camera.tolist(), strict=True)
    )
    assert all(
        any((identity, other) in gallery for other in range(cameras) if other != camera)
        for identity, camera in pairs
    )


@pytest.mark.parametrize('name', ['ward', 'pku'])
def test_labels_are_those_of_the_names(shared_data, name):
    splits = jreid.data.load(name, shared_data)
    for path, identity, camera in zip(
        splits.gallery.path, splits.gallery.identity, splits.gallery.camera, strict=True
    ):
        base = os.path.basename(path)
        expected = (
            (int(base[:4]), int(base[4:8]) - 1)
            if name == 'ward'
            else (int(base[:3]), int(base[4:6]) - 1)
        )
        assert (identity, camera) == expected
    trained = {os.path.basename(p)[: 4 if name == 'ward' else 3] for p in splits.train.path}
    assert not trained & {
        os.path.basename(p)[: 4 if name == 'ward' else 3] for p in splits.gallery.path
    }


def test_split_seed(shared_data):
    first, again, other = (
        jreid.data.load('pku', shared_data / 'pku', split_seed=seed) for seed in (0, 0, 1)
    )
    assert first.train.path.tolist() == again.train.path.tolist()
    assert first.query.path.tolist() == again.query.path.tolist()
    assert set(first.train.path) != set(other.train.path)
    assert set(everything(first)) == set(everything(other))


def test_split_is_the_same_wherever_the_set_lies(tmp_path, photos):
    names = [f'{p:03d}_{c:02d}_{o}.jpg' for p in range(1, 7) for c in (1, 2) for o in range(1, 5)]
    splits = []
    for folder in ('b', 'a'):
        photos(tmp_path / folder / 'pku', names)
        splits.append(jreid.data.load('pku', tmp_path / folder))
    assert [os.path.basename(p) for p in splits[0].query.path] == [
        os.path.basename(p) for p in splits[1].query.path
    ]
    assert len(splits[0].query) == 6


@pytest.mark.parametrize(
    ('name', 'bad'),
    [
        ('ward', '0001.jpg'),
        ('ward', '000100000001.jpg'),
        ('pku', '0001_01_1.jpg'),
        ('pku', '001_00_1.jpg'),
    ],
)
def test_misnamed_files(tmp_path, photos, name, bad):
    good = (
        ['000100010001.jpg', '000200010001.jpg']
        if name == 'ward'
        else ['001_01_1.jpg', '002_01_1.jpg']
    )
    photos(tmp_path, [*good, bad])
    with pytest.raises(
        ValueError, match=f"1 of 3 images in .* expected names like '{good[0]}'; e.g. '{bad}'"
    ):
        jreid.data.load(name, tmp_path)


@pytest.mark.parametrize('name', ['ward', 'pku'])
def test_no_images(tmp_path, name):
    with pytest.raises(
        FileNotFoundError,
        match=r'was not found. Looked in\n  /.*: holds no image\n(.*\n)+  its layout: images like',
    ):
        jreid.data.load(name, tmp_path)


def test_too_few_people(tmp_path, photos):
    photos(tmp_path, ['001_01_1.jpg', '001_02_1.jpg'])
    with pytest.raises(ValueError, match='pku: 1 identities cannot be split'):
        jreid.data.load('pku', tmp_path)
