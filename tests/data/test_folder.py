"""The user's own sets: CSV and folders."""

import numpy as np
import pytest

import jreid.data

HEADER = 'image,identity,camera,split'
ROWS = [
    'a/1.jpg,12,1,train',
    'a/2.jpg,3,2,train',
    'a/3.jpg,12,2,train',
    'q/1.jpg,9,1,query',
    'g/1.jpg,9,2,gallery',
    'g/2.jpg,4,1,gallery',
]


@pytest.fixture
def write(tmp_path, photos):
    """Returns a function (rows, header) that writes a CSV and the images that it names."""

    def make(rows=ROWS, header=HEADER, name='index.csv'):
        photos(tmp_path, ['a/1.jpg', 'a/2.jpg', 'a/3.jpg', 'q/1.jpg', 'g/1.jpg', 'g/2.jpg'])
        (tmp_path / name).write_text('\n'.join([header, *rows]) + '\n', encoding='utf-8')
        return tmp_path

    return make


def test_csv(write):
    root = write()
    splits = jreid.data.load('folder', root, title='mall')
    assert splits.name == 'mall'
    assert splits.train.path.tolist() == [str(root / f'a/{i}.jpg') for i in (1, 2, 3)]
    assert splits.train.identity.tolist() == [1, 0, 1]
    assert splits.train.camera.tolist() == [0, 1, 1]
    assert splits.query.identity.tolist() == [9]
    assert splits.gallery.identity.tolist() == [9, 4]
    assert splits.has_cameras
    assert splits.train.attributes is None


def test_csv_of_another_name_with_a_byte_order_mark(write):
    root = write(header='\ufeff' + HEADER, name='mine.CSV')
    assert len(jreid.data.load('folder', root / 'mine.CSV').gallery) == 2


def test_words_are_numbered_in_sorted_order(write):
    rows = [
        'a/1.jpg,zoe,hall,train',
        'a/2.jpg,ann,door,train',
        'q/1.jpg,kim,hall,query',
        'g/1.jpg,kim,door,gallery',
        'g/2.jpg,bob,yard,gallery',
    ]
    splits = jreid.data.load('folder', write(rows))
    assert splits.train.identity.tolist() == [1, 0]
    assert splits.train.camera.tolist() == [1, 0]
    assert splits.query.identity.tolist() == [1]
    assert splits.gallery.identity.tolist() == [1, 0]
    assert splits.gallery.camera.tolist() == [0, 2]


def test_a_camera_whose_name_begins_as_junk_is_a_camera_of_its_own(write):
    rows = [
        'a/1.jpg,zoe,-1a,train',
        'a/2.jpg,ann,a,train',
        'q/1.jpg,kim,a,query',
        'g/1.jpg,kim,-1a,gallery',
    ]
    splits = jreid.data.load('folder', write(rows))
    assert len(set(splits.train.camera.tolist())) == 2
    assert splits.query.camera[0] != splits.gallery.camera[0]


def test_without_cameras(write):
    rows = [','.join(np.delete(row.split(','), 2)) for row in ROWS]
    splits = jreid.data.load('folder', write(rows, 'image,identity,split'))
    assert not splits.has_cameras
    assert splits.gallery.camera.tolist() == [-1, -1]
    assert 'cameras unknown' in splits.summary()


def test_some_cameras_only(write):
    with pytest.raises(
        ValueError,
        match="1 of 6 images have no camera, e.g. '.*g/2.jpg'; give every image one, or none",
    ):
        jreid.data.load('folder', write([*ROWS[:-1], 'g/2.jpg,4,,gallery']))


def test_attribute_columns(write):
    values = ['1,0', '0,0.25', '1,0', ',', '0,1', '1,1']
    splits = jreid.data.load(
        'folder',
        write(
            [f'{r},{v}' for r, v in zip(ROWS, values, strict=True)], HEADER + ',attribute_hat,bag'
        ),
        attributes='bag',
    )
    assert splits.train.attribute_names == ('hat', 'bag')
    assert splits.train.attributes.tolist() == [[1, 0], [0, 0.25], [1, 0]]
    assert splits.query.attributes is None
    assert splits.gallery.attributes.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize('value', ['2', 'yes', 'nan', '-1', ''])
def test_bad_attribute(write, value):
    rows = [f'{ROWS[0]},1,{value}', *(f'{r},1,0' for r in ROWS[1:])]
    with pytest.raises(
        ValueError, match=f"line 2: bag is '{value}'; expected 0, 1 or a soft label"
    ):
        jreid.data.load('folder', write(rows, HEADER + ',hat,bag'), attributes=['hat', 'bag'])


def test_unlabelled_training_images(write):
    splits = jreid.data.load(
        'folder', write(['a/1.jpg,,1,train', 'a/2.jpg,-1,1,train', 'a/3.jpg,7,1,train', *ROWS[3:]])
    )
    assert splits.train.identity.tolist() == [-1, 0]
    assert '1 train images are junk (-1) and left out' in splits.summary()


def test_training_only(write):
    splits = jreid.data.load('folder', write(ROWS[:3]), test=False)
    assert (len(splits.train), len(splits.query), len(splits.gallery)) == (3, 0, 0)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        ('../../etc/passwd.jpg', 'leads out of'),
        ('a/../../1.jpg', 'leads out of'),
        ('/etc/hosts.jpg', 'leads out of'),
        ('a/1\x07.jpg', 'control characters'),
        ('a/1\x00.jpg', 'control characters'),
        ('', 'expected a path below'),
    ],
)
def test_paths_that_lead_out(write, image, message):
    with pytest.raises(ValueError, match=f'index.csv, line 2: the image .*{message}'):
        jreid.data.load('folder', write([f'{image},1,1,train', *ROWS[1:]]))


def test_dots_inside_the_folder_are_fine(write):
    root = write(['q/../a/1.jpg,12,1,train', *ROWS[1:]])
    assert jreid.data.load('folder', root).train.path[0] == str(root / 'a/1.jpg')


def test_folder_named_with_a_detour_is_fine(write, tmp_path, monkeypatch):
    root = write()
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert jreid.data.load('folder', '..').train.path[0] == str(root / 'a/1.jpg')
    (root / 'index.csv').write_text(f'{HEADER}\n../../x.jpg,1,1,train\n')
    with pytest.raises(ValueError, match='leads out of'):
        jreid.data.load('folder', '..')


@pytest.mark.parametrize(
    ('rows', 'header', 'message'),
    [
        (
            ROWS,
            'image,person,camera,split',
            (
                r"has no column identity, it has \['image', 'person', 'camera', 'split'\]. The"
                r' layouts:\n  index.csv'
            ),
        ),
        (ROWS, 'image,identity,identity,split', 'has a column twice'),
        (
            ['a/1.jpg;1;1;train'],
            'image;identity;camera;split',
            "its values are separated by ';', expected commas",
        ),
        (
            ['a/1.jpg\t1\t1\ttrain'],
            'image\tidentity\tcamera\tsplit',
            r"its values are separated by '\\t', expected commas",
        ),
        (ROWS, 'image,identity, identity,split', 'has a column twice'),
        ([*ROWS, ROWS[0]], HEADER, "line 8: 'a/1.jpg' was named before"),
        (
            [*ROWS[:-1], 'g/2.jpg,4,1,test'],
            HEADER,
            "line 7: split is 'test'; expected train, query, gallery",
        ),
        (
            [*ROWS[:-1], 'g/2.jpg,4'],
            HEADER,
            'line 7: expected 4 values, image,identity,camera,split',
        ),
        ([*ROWS[:-1], 'g/2.jpg,4,1,gallery,x'], HEADER, 'line 7: expected 4 values'),
        ([*ROWS[:-1], 'g/2.jpg,,1,gallery'], HEADER, '1 of 2 gallery images have no identity'),
        ([*ROWS[:-1], 'g/2.jpg,4\x1b,1,gallery'], HEADER, 'line 7: .* holds control characters'),
        (ROWS[:-2], HEADER, 'the gallery split is empty in'),
        ([*ROWS, '"g/3.jpg,1,1,train'], HEADER, 'cannot be read as a CSV file'),
        ([], '', 'has no column image, identity, split'),
    ],
)
def test_bad_csv(write, rows, header, message):
    with pytest.raises(ValueError, match=message):
        jreid.data.load('folder', write(rows, header))


def test_spaces_around_column_names_are_no_part_of_them(write):
    plain, spaced = (
        jreid.data.load('folder', write(ROWS, header))
        for header in (HEADER, ' image, identity , camera,split ')
    )
    assert spaced.train.path.tolist() == plain.train.path.tolist()
    assert spaced.train.camera.tolist() == plain.train.camera.tolist()


def test_csv_of_another_name_is_named(tmp_path):
    for name in ('labels.csv', 'all.CSV', 'notes.txt'):
        (tmp_path / name).write_text('x')
    with pytest.raises(
        FileNotFoundError,
        match=(
            r'nor the folders train, query, gallery, but all.CSV, labels.csv: name one of them'
            r' index.csv, or give its path as root'
        ),
    ):
        jreid.data.load('folder', tmp_path)
    with pytest.raises(FileNotFoundError, match='no such file'):
        jreid.data.load('folder', tmp_path / 'other.csv')
    with pytest.raises(FileNotFoundError, match='no such folder'):
        jreid.data.load('folder', tmp_path / 'nowhere')


def test_csv_in_another_encoding(write):
    root = write()
    (root / 'index.csv').write_bytes(f'{HEADER}\na/1.jpg,J\xfcrgen,1,train\n'.encode('latin-1'))
    with pytest.raises(ValueError, match='cannot be read as a CSV file in UTF-8'):
        jreid.data.load('folder', root)


def test_missing_and_empty_files(write):
    root = write()
    (root / 'a/3.jpg').unlink()
    with pytest.raises(
        ValueError, match="1 of 6 images in .*index.csv do not exist; e.g. 'a/3.jpg'"
    ):
        jreid.data.load('folder', root)
    (root / 'a/3.jpg').write_bytes(b'')
    with pytest.raises(
        ValueError, match="1 of 6 images in .*index.csv are empty files; e.g. 'a/3.jpg'"
    ):
        jreid.data.load('folder', root)
    with pytest.warns(UserWarning, match='left out'):
        assert len(jreid.data.load('folder', root, bad_files='skip').train) == 2


TREE = [
    'train/12/x_c2_1.jpg',
    'train/3/c1.jpg',
    'train/12/x_c1_2.jpg',
    'query/9/x_c1.jpg',
    'gallery/9/x_c2.jpg',
    'gallery/10/x_c1.jpg',
]


def test_folders(tmp_path, photos):
    photos(tmp_path / '0001_c7_trap', TREE)
    splits = jreid.data.load('folder', tmp_path / '0001_c7_trap')
    assert splits.train.identity.tolist() == [1, 1, 0]
    assert splits.train.camera.tolist() == [0, 1, 0]
    assert splits.gallery.identity.tolist() == [10, 9]
    assert splits.has_cameras


def test_folders_without_cameras(tmp_path, photos):
    photos(tmp_path, ['train/12/1.jpg', 'query/9/1.jpg', 'gallery/9/2.jpg'])
    splits = jreid.data.load('folder', tmp_path)
    assert not splits.has_cameras
    assert splits.query.camera.tolist() == [-1]


def test_folders_with_a_pattern(tmp_path, photos):
    photos(tmp_path, ['train/12/cam-4.jpg', 'query/9/cam-4.jpg', 'gallery/9/cam-5.jpg'])
    splits = jreid.data.load('folder', tmp_path, camera_pattern=r'cam-(\d)')
    assert (splits.query.camera.tolist(), splits.gallery.camera.tolist()) == ([0], [1])


def test_names_with_control_characters_are_refused(tmp_path, photos):
    photos(
        tmp_path,
        [
            f'{split}/{person}/{camera}_c{camera}.jpg'
            for split in ('train', 'query', 'gallery')
            for person in '12'
            for camera in (1, 2)
        ],
    )
    photos(tmp_path, ['train/1/\x1b[2Jx_c1.jpg'])
    with pytest.raises(
        ValueError,
        match=(
            r"1 of 5 images in .* have control characters in their name; e.g. '1/\\x1b\[2Jx_c1.jpg'"
        ),
    ):
        jreid.data.load('folder', tmp_path)
    with pytest.warns(UserWarning, match='control characters'):
        assert len(jreid.data.load('folder', tmp_path, bad_files='skip').train) == 4


def test_loose_images(tmp_path, photos):
    photos(tmp_path, [*TREE, 'gallery/loose.jpg'])
    with pytest.raises(
        ValueError,
        match="1 of 3 images in .*gallery lie in no folder of an identity; e.g. 'loose.jpg'",
    ):
        jreid.data.load('folder', tmp_path)


def test_neither_csv_nor_folders(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match='holds neither index.csv nor the folders train, query, gallery, and no image. The',
    ):
        jreid.data.load('folder', tmp_path)
