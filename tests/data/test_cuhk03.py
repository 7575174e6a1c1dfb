"""CUHK03: the new protocol by the authors' files, and the classic splits."""

import os

import numpy as np
import pytest
from scipy.io import savemat

import jreid.data
from jreid.data.datasets.cuhk03 import EXAMPLE

CUHK03 = [
    f'{pair}_{person:03d}_{view}_{image:02d}.png'
    for pair, count in ((1, 4), (2, 3), (4, 1))
    for person in range(1, count + 1)
    for view in (1, 2)
    for image in (1, 2)
]


def bases(index):
    return [os.path.basename(path) for path in index.path]


@pytest.fixture
def cuhk03(tmp_path, photos):
    photos(tmp_path / 'cuhk03' / 'images_detected', CUHK03)
    order = {key: i + 1 for i, key in enumerate(sorted({name[:5] for name in CUHK03}))}
    labels = np.array([order[name[:5]] for name in CUHK03])
    cameras = np.array([int(name[6]) for name in CUHK03])
    first = np.array([name.endswith('_01.png') for name in CUHK03])
    tested = labels > 5
    rows = np.arange(1, len(CUHK03) + 1)
    fields = {'filelist': np.array(CUHK03, object), 'labels': labels, 'camId': cameras}
    fields |= {
        'train_idx': rows[~tested],
        'query_idx': rows[tested & first],
        'gallery_idx': rows[tested & ~first],
    }
    savemat(tmp_path / 'cuhk03' / 'cuhk03_new_protocol_config_detected.mat', fields)
    return tmp_path


def test_new_protocol_of_cuhk03(cuhk03):
    splits = jreid.data.load('cuhk03', cuhk03, images='detected', expected=False)
    assert (splits.train.identities, len(splits.train), len(splits.query), len(splits.gallery)) == (
        5,
        20,
        6,
        6,
    )
    assert set(bases(splits.query)) == {
        name
        for name in CUHK03
        if name.endswith('_01.png') and (name[0] == '4' or name[:5] in ('2_002', '2_003'))
    }
    for base, identity, camera in zip(
        bases(splits.gallery), splits.gallery.identity, splits.gallery.camera, strict=True
    ):
        assert camera == int(base[6]) - 1
        assert identity == {'2_002': 6, '2_003': 7, '4_001': 8}[base[:5]]


@pytest.mark.parametrize(
    ('images', 'counts'),
    [
        ('labeled', (7368, 1400, 5328)),
        pytest.param('detected', (7365, 1400, 5332), marks=pytest.mark.slow),
    ],
)
def test_real_protocol_files_of_cuhk03(images, counts, shared_data, tmp_path):
    """Counts the whole set by the authors' file; images are links to one file of one byte.

    One person of the labeled images has one view only.
    """
    from scipy.io import loadmat

    path = shared_data / 'annotations' / f'cuhk03_new_protocol_config_{images}.mat'
    folder = tmp_path / f'images_{images}'
    folder.mkdir()
    (folder / EXAMPLE).write_bytes(b'x')
    for name in loadmat(path, squeeze_me=True)['filelist']:
        if name != EXAMPLE:
            os.link(folder / EXAMPLE, folder / str(name))
    # A count that differs would warn.
    splits = jreid.data.load('cuhk03', tmp_path, images=images, annotations=str(path))
    assert (splits.train.identities, splits.query.identities) == (767, 700)
    assert tuple(len(index) for _, index in splits.parts()) == counts
    classic = jreid.data.load('cuhk03', tmp_path, images=images, protocol='classic', split=19)
    assert (classic.train.identities, classic.query.identities, len(classic.gallery)) == (
        1367,
        100,
        100,
    )
    assert set(classic.query.camera) == {0}
    early = jreid.data.load(
        'cuhk03', tmp_path, images=images, protocol='classic', pairs=3, validation_people=100
    )
    assert (early.train.identities, early.query.identities, len(early.gallery)) == (1160, 100, 100)


def test_classic_splits_of_cuhk03(cuhk03):
    splits = jreid.data.load(
        'cuhk03',
        cuhk03,
        images='detected',
        protocol='classic',
        test_people=3,
        pairs=3,
        validation_people=2,
        expected=False,
    )
    assert (splits.train.identities, splits.query.identities, len(splits.gallery)) == (2, 3, 3)
    assert not any(base.startswith('4') for _, index in splits.parts() for base in bases(index))
    every = jreid.data.load(
        'cuhk03',
        cuhk03,
        images='detected',
        protocol='classic',
        test_people=3,
        pairs=3,
        validation_people=2,
        shots='all',
        expected=False,
    )
    assert bases(every.query) == bases(splits.query)
    assert (len(every.gallery), every.gallery.identities) == (6, 3)
    assert set(bases(splits.gallery)) < set(bases(every.gallery))
    with pytest.raises(ValueError, match="shots is 'two'"):
        jreid.data.load('cuhk03', cuhk03, images='detected', protocol='classic', shots='two')
    with pytest.raises(ValueError, match='validation_people is 5'):
        jreid.data.load(
            'cuhk03',
            cuhk03,
            images='detected',
            protocol='classic',
            test_people=3,
            validation_people=5,
            expected=False,
        )


def test_cuhk03_that_cannot_be_read(cuhk03):
    with pytest.raises(FileNotFoundError, match='lacks images_labeled'):
        jreid.data.load('cuhk03', cuhk03)
    with pytest.raises(ValueError, match="images is 'both'"):
        jreid.data.load('cuhk03', cuhk03, images='both')
    os.remove(cuhk03 / 'cuhk03' / 'images_detected' / CUHK03[0])
    with pytest.raises(ValueError, match='1 of 32 images in .* are missing or empty'):
        jreid.data.load('cuhk03', cuhk03, images='detected', expected=False)
    os.remove(cuhk03 / 'cuhk03' / 'cuhk03_new_protocol_config_detected.mat')
    with pytest.raises(FileNotFoundError, match=r'give its path \(annotations=PATH\)'):
        jreid.data.load('cuhk03', cuhk03, images='detected', expected=False)
