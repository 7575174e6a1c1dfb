"""MSMT17's list files."""

import pytest

import jreid.data
from jreid.data.datasets import msmt17

TRAIN = ['0003/0003_000_02_0303noon_0001_0.jpg 3', '0001/0001_000_15_0303morning_0015_0_ex.jpg 1']
VAL = ['0001/0001_001_01_0303morning_0016_0.jpg 1']
QUERY = ['0000/0000_000_01_0303morning_0015_0.jpg 0']
GALLERY = ['0000/0000_001_14_0303morning_0015_0.jpg 0', '0002/0002_001_03_0303morning_0015_0.jpg 2']


@pytest.fixture(params=['MSMT17_V1', 'MSMT17_V2'])
def tree(request, tmp_path, photos):
    folder = tmp_path / request.param
    train, test = (
        ('train', 'test') if request.param.endswith('1') else ('mask_train_v2', 'mask_test_v2')
    )
    for name, lines, images in (
        ('train', TRAIN, train),
        ('val', VAL, train),
        ('query', QUERY, test),
        ('gallery', GALLERY, test),
    ):
        photos(folder / images, [line.split()[0] for line in lines])
        (folder / f'list_{name}.txt').write_text('\n'.join(lines) + '\n')
    return folder


def test_both_versions(tree):
    splits = jreid.data.load('msmt17', tree.parent, expected=False)
    assert splits.train.identity.tolist() == [1, 0]
    assert splits.train.camera.tolist() == [1, 14]
    assert splits.query.camera.tolist() == [0]
    assert splits.gallery.identity.tolist() == [0, 2]
    assert splits.gallery.camera.tolist() == [13, 2]
    assert all(path.startswith(str(tree)) for path in splits.gallery.path)


def test_train_and_val(tree):
    splits = jreid.data.load('msmt17', tree, train='train+val', expected=False)
    assert splits.train.identity.tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match=r"train is 'val'; expected 'train' or 'train\+val'"):
        jreid.data.load('msmt17', tree, train='val')


def test_counts_are_checked(tree):
    with pytest.warns(
        UserWarning,
        match=(
            r'train has 2 images, the set 30,248.*query has 1 images, the set 11,659.*gallery has 2'
            r' images, the set 82,161'
        ),
    ) as record:
        jreid.data.load('msmt17', tree)
    assert '5 cameras, the set has 15' in str(record[0].message)
    assert msmt17.TRAIN_COUNTS['train+val'] == (30248 + 2373, 1041)


@pytest.mark.parametrize(
    'line',
    [
        '../../secret/0001_000_02_0303noon_0001_0.jpg 1',
        '0001/0001_000_16_x.jpg 1',
        '0001/0001_000_00_x.jpg 1',
        '0003/0003_000_02_0303noon_0001_0.jpg',
        '0001/foo.jpg 1',
    ],
)
def test_bad_lines(tree, line):
    (tree / 'list_train.txt').write_text('\n'.join([*TRAIN, line]))
    with pytest.raises(
        ValueError,
        match=(
            r'1 of 3 images in .*list_train.txt are not lines like'
            r" '0000/0000_000_01_0303morning_0015_0.jpg 0'; e.g. "
        ),
    ):
        jreid.data.load('msmt17', tree)
    with pytest.warns(UserWarning, match='left out: 1 of 3'):
        assert len(jreid.data.load('msmt17', tree, expected=False, bad_files='skip').train) == 2


def test_missing_and_empty_images(tree):
    images = next(p for p in tree.iterdir() if 'test' in p.name)
    (images / GALLERY[0].split()[0]).unlink()
    with pytest.raises(
        ValueError,
        match=r"1 of 2 images in .*list_gallery.txt are not in .*test.*; e.g. '0000/0000_001_14",
    ):
        jreid.data.load('msmt17', tree)
    (images / GALLERY[0].split()[0]).write_bytes(b'')
    with pytest.raises(ValueError, match='1 of 2 images in .*list_gallery.txt are empty files'):
        jreid.data.load('msmt17', tree)


def test_missing_parts(tree):
    images = next(p for p in tree.iterdir() if 'test' in p.name)
    images.rename(tree / 'elsewhere')
    with pytest.raises(
        FileNotFoundError,
        match=r'none of the folders mask_test_v2, test. Its layout: list_train.txt',
    ):
        jreid.data.load('msmt17', tree)
    (tree / 'list_val.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'lacks list_val.txt'):
        jreid.data.load('msmt17', tree)


def test_empty_list(tree):
    (tree / 'list_query.txt').write_text('\n')
    with pytest.raises(ValueError, match='the query split is empty: .*list_query.txt'):
        jreid.data.load('msmt17', tree)


def test_a_list_in_another_encoding_is_named(tree):
    (tree / 'list_query.txt').write_text('\n'.join(QUERY), encoding='utf-16')
    with pytest.raises(ValueError, match=r'list_query.txt is no UTF-8 text .*save it as UTF-8'):
        jreid.data.load('msmt17', tree)
