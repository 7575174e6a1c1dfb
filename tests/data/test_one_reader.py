"""One set of rules for folders and CSV files: junk, words, hidden files, links; nothing is lost."""

import os

import numpy as np
import pytest

import jreid.data
from jreid.data.datasets import finding
from jreid.retrieval import evaluate

HEADER = 'image,identity,camera,split'
TREE = {
    'train/1/a_c1.jpg': '1',
    'train/-1/b_c1.jpg': '-1',
    'query/7/c_c1.jpg': '7',
    'gallery/-1/d_c2.jpg': '-1',
    'gallery/7/e_c2.jpg': '7',
    'gallery/8/f_c2.jpg': '8',
}


def table(root, names, header=HEADER):
    """Writes index.csv with the labels that the names of a tree say."""
    rows = [
        f'{name},{identity},{name.split("_c")[1][0]},{name.split("/")[0]}'
        for name, identity in names.items()
    ]
    (root / 'index.csv').write_text('\n'.join([header, *rows]) + '\n')


@pytest.mark.parametrize('form', ['folders', 'csv'])
def test_junk_is_neither_trained_on_nor_ranked(tmp_path, photos, form):
    photos(tmp_path, TREE)
    if form == 'csv':
        table(tmp_path, TREE)
    splits = jreid.data.load('folder', tmp_path)
    assert splits.train.identity.tolist() == [0]
    assert sorted(splits.gallery.identity.tolist()) == [7, 8]
    assert '1 gallery images are junk (-1) and left out' in splits.notes
    places = {'e_c2.jpg': [1.0], 'f_c2.jpg': [2.0], 'd_c2.jpg': [0.5]}
    gallery = np.asarray([places[p.rsplit('/', 1)[1]] for p in splits.gallery.path], np.float32)
    found = evaluate(
        np.zeros((1, 1), np.float32),
        gallery,
        splits.query.identity,
        splits.gallery.identity,
        splits.query.camera,
        splits.gallery.camera,
    )
    assert found.mAP == 1.0


@pytest.mark.parametrize('form', ['folders', 'csv'])
def test_queries_may_not_be_junk(tmp_path, photos, form):
    tree = {**TREE, 'query/-1/g_c1.jpg': '-1'}
    photos(tmp_path, tree)
    if form == 'csv':
        table(tmp_path, tree)
    with pytest.raises(ValueError, match='1 of 2 query images have no identity'):
        jreid.data.load('folder', tmp_path)


def test_labels_as_pandas_writes_them(tmp_path, photos):
    photos(tmp_path, ['1.jpg', '2.jpg', '3.jpg', '4.jpg'])
    (tmp_path / 'index.csv').write_text(
        ',image,identity,camera,split,confidence\n0,1.jpg,3.0,1.0,train,0.9\n'
        '1,2.jpg,,2.0,train,0.8\n2,3.jpg,12.0,1.0,query,0.1\n3,4.jpg,12.0,2.0,gallery,1.7\n'
    )
    splits = jreid.data.load('folder', tmp_path)
    assert splits.train.identity.tolist() == [0, -1]
    assert splits.query.identity.tolist() == [12]
    assert splits.train.camera.tolist() == [0, 1]
    assert splits.train.attributes is None
    note = 'columns of index.csv that are not read: (no name), confidence'
    assert sum(line.strip().startswith(note) for line in splits.summary().splitlines()) == 1


def test_a_gallery_of_junk_alone_is_refused(tmp_path, photos):
    photos(tmp_path, ['train/1/a_c1.jpg', 'query/7/c_c1.jpg', 'gallery/-1/d_c2.jpg'])
    with pytest.raises(ValueError, match=r'all 1 gallery images are junk \(-1\), e.g. .*d_c2.jpg'):
        jreid.data.load('folder', tmp_path)


def test_names_that_look_like_gaps_are_names(tmp_path, photos):
    names = ['Nan', 'NaN', 'None', 'null', 'NA']
    photos(tmp_path, [f'{i}.jpg' for i in range(7)])
    rows = [f'{i}.jpg,{name},1,train' for i, name in enumerate(names)]
    (tmp_path / 'index.csv').write_text(
        '\n'.join([HEADER, *rows, '5.jpg,,1,train', '6.jpg,nan,1,train']) + '\n'
    )
    splits = jreid.data.load('folder', tmp_path)
    assert splits.train.identity.tolist() == [2, 1, 3, 4, 0, -1, -1]
    assert '1 labels of index.csv are nan, as pandas writes gaps: read as empty' in splits.notes


def test_spaces_around_the_name_of_an_image(tmp_path, photos):
    photos(tmp_path, ['1.jpg', ' 2.jpg'])
    (tmp_path / 'index.csv').write_text(f'{HEADER}\n1.jpg ,1,1,train\n 2.jpg,1,2,train\n')
    paths = jreid.data.load('folder', tmp_path).train.path
    assert [path.rsplit('/', 1)[1] for path in paths] == ['1.jpg', ' 2.jpg']


@pytest.mark.parametrize(('value', 'column'), [('1.5', 'camera'), ('-2', 'camera')])
def test_numbers_that_are_no_label(tmp_path, photos, value, column):
    photos(tmp_path, ['1.jpg'])
    (tmp_path / 'index.csv').write_text(f'{HEADER}\n1.jpg,1,{value},train\n')
    with pytest.raises(ValueError, match=f'line 2: {column} is {value}; expected a whole number'):
        jreid.data.load('folder', tmp_path)


def test_unknown_attribute_column(tmp_path, photos):
    photos(tmp_path, ['1.jpg'])
    (tmp_path / 'index.csv').write_text(f'{HEADER}\n1.jpg,1,1,train\n')
    with pytest.raises(ValueError, match='has no column hat, it has'):
        jreid.data.load('folder', tmp_path, attributes='hat')


def test_numbers_too_large_for_an_index_are_numbered(tmp_path, photos):
    photos(tmp_path, ['1.jpg', '2.jpg', '3.jpg'])
    (tmp_path / 'index.csv').write_text(
        f'{HEADER}\n1.jpg,1,1,train\n2.jpg,20261127000001,1,query\n3.jpg,20261127000001,2,gallery\n'
    )
    assert jreid.data.load('folder', tmp_path).gallery.identity.tolist() == [0]


def test_identity_folders_with_a_folder_per_camera(tmp_path, photos):
    photos(
        tmp_path,
        ['train/5/cam1/x.jpg', 'train/5/cam2/x.jpg', 'query/7/cam1/x.jpg', 'gallery/7/cam2/x.jpg'],
    )
    splits = jreid.data.load('folder', tmp_path)
    assert splits.train.identity.tolist() == [0, 0]
    assert splits.train.camera.tolist() == [0, 1]
    photos(tmp_path, ['train/5/loose.jpg'])
    with pytest.raises(ValueError, match=r'1 of 3 images .* lie neither in IDENTITY/IMAGE nor in'):
        jreid.data.load('folder', tmp_path)


def test_folders_with_names_of_cameras_are_no_identities(tmp_path, photos):
    photos(
        tmp_path,
        [
            f'{split}/cam0{camera}/person0{person}_cam0{camera}_x.jpg'
            for split, person in (('train', 1), ('train', 2), ('query', 3), ('gallery', 3))
            for camera in (1, 2)
        ],
    )
    with pytest.raises(ValueError, match=r'have names of cameras \(cam01, cam02\)'):
        jreid.data.load('folder', tmp_path)
    splits = jreid.data.load('folder', tmp_path, identity_pattern=r'person(\d+)')
    assert splits.train.identity.tolist() == [0, 1, 0, 1]
    assert splits.train.camera.tolist() == [0, 0, 1, 1]
    assert splits.query.identity.tolist() == [3, 3]
    photos(tmp_path, ['train/cam01/stray.jpg'])
    with pytest.raises(ValueError, match='1 of 5 images .* have no identity in their name'):
        jreid.data.load('folder', tmp_path, identity_pattern=r'person(\d+)')


def test_folders_that_are_not_read_are_named(tmp_path, photos):
    photos(tmp_path, [*TREE, 'train_all/1/a_c1.jpg', 'multi-query/7/c_c1.jpg'])
    (tmp_path / 'logs').mkdir()
    notes = jreid.data.load('folder', tmp_path).notes
    assert 'folders that are not read: multi-query, train_all' in notes


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'train/2/x_c1.jpg',
            r'1 of 3 images in .*train are links to nothing .* \(dvc pull, git an',
        ),
        ('train/2/', "1 of 3 folders in .*train hold no image; e.g. '2'"),
        ('train/2/x_c1.HEIC', '1 of 3 images in .*train are of a type that is not read'),
        ('train/2/notes.txt', "1 of 3 folders in .*train hold no image; e.g. '2'"),
        ('train/2/a/b/x_c1.jpg', '1 of 3 images in .*train lie neither in'),
    ],
)
def test_nothing_vanishes_before_it_is_counted(tmp_path, photos, name, message):
    photos(tmp_path, TREE)
    path = tmp_path / name
    if name.endswith('/'):
        path.mkdir()
    elif 'links' in message:
        path.parent.mkdir()
        path.symlink_to(tmp_path / 'gone.jpg')
    else:
        path.parent.mkdir(parents=True)
        path.write_bytes(b'x')
    with pytest.raises(ValueError, match=message):
        jreid.data.load('folder', tmp_path)
    with pytest.warns(UserWarning, match='left out: 1 of 3'):
        assert len(jreid.data.load('folder', tmp_path, bad_files='skip').train) == 1


def test_an_identity_of_gif_alone_is_read(tmp_path, photos):
    photos(tmp_path, [*TREE, 'train/2/x_c1.gif'])
    assert jreid.data.load('folder', tmp_path).train.identities == 2


def test_what_counts_as_an_image(tmp_path, photos):
    photos(
        tmp_path, ['a.JPG', 'x.jpg/b.jpg', 'deep/c.png', '._a.jpg', '.git/d.jpg', '@eaDir/e.jpg']
    )
    (tmp_path / 'Thumbs.db').write_bytes(b'x')
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'elsewhere').symlink_to(tmp_path / 'deep')
    (tmp_path / 'deep' / 'round').symlink_to(tmp_path)
    os.mkfifo(tmp_path / 'pipe.jpg')
    found = finding.find(tmp_path)
    assert found.images == ('a.JPG', 'deep/c.png', 'elsewhere/c.png', 'x.jpg/b.jpg')
    assert found.bad == {finding.EMPTY: ['empty.jpg'], finding.MISSING: ['pipe.jpg']}
    assert found.total == 6
    assert finding.find(tmp_path, deep=False).images == ('a.JPG',)
