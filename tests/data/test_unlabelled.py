"""Targets without any label: a CSV file, folders of cameras, one folder, a tracker's names."""

import pytest

import jreid.data


def unlabelled(root, **options):
    """Loads a set and checks that nothing in it is taken as an identity."""
    splits = jreid.data.load('folder', root, **options)
    assert not splits.has_labels
    assert not splits.has_test
    assert (splits.train.identity == -1).all()
    assert (len(splits.query), len(splits.gallery)) == (0, 0)
    assert 'identities of the training images unknown' in splits.summary()
    assert 'unknown' in splits.summary().splitlines()[1]
    return splits


@pytest.mark.parametrize('identity', ['', '-1', 'nan'])
def test_csv_without_identities(tmp_path, photos, identity):
    photos(tmp_path, ['a.jpg', 'b.jpg'])
    (tmp_path / 'index.csv').write_text(
        f'image,identity,camera,split\na.jpg,{identity},1,train\nb.jpg,{identity},2,train\n'
    )
    splits = unlabelled(tmp_path)
    assert splits.train.camera.tolist() == [0, 1]
    assert splits.notes[0].endswith('the column identity of index.csv is empty')


def test_folders_of_cameras(tmp_path, photos):
    photos(tmp_path, ['cam10/1.jpg', 'cam2/x.png', 'cam2/0002_a.jpg'])
    splits = unlabelled(tmp_path)
    assert [path.split('/')[-2] for path in splits.train.path] == ['cam10', 'cam2', 'cam2']
    assert splits.train.camera.tolist() == [1, 0, 0]
    assert 'cameras from the folders: 10, 2' in splits.notes


def test_a_camera_that_vanished_is_counted(tmp_path, photos):
    photos(tmp_path, ['cam1/1.jpg', 'cam2/1.jpg'])
    (tmp_path / 'cam3').mkdir()
    with pytest.raises(ValueError, match=r"1 of 3 folders .* hold no image; e.g. 'cam3'"):
        unlabelled(tmp_path)
    (tmp_path / 'cam3').rmdir()
    (tmp_path / 'cam4').symlink_to(tmp_path / 'gone')
    with pytest.raises(ValueError, match=r"are links to nothing.*'cam4'"):
        unlabelled(tmp_path)


def test_folders_of_cameras_with_words(tmp_path, photos):
    photos(tmp_path, ['hall/1.jpg', 'door/1.jpg'])
    assert unlabelled(tmp_path).train.camera.tolist() == [0, 1]


def test_flat_folder(tmp_path, photos):
    photos(tmp_path, ['a.jpg', 'b.jpg', '0002.jpg'])
    splits = unlabelled(tmp_path)
    assert not splits.has_cameras
    assert len(splits.train) == 3
    assert "the query's own camera" not in splits.summary()  # there are no queries


def test_one_folder_of_images_is_no_camera(tmp_path, photos):
    photos(tmp_path, ['crops/a.jpg', 'crops/b.jpg'])
    assert not unlabelled(tmp_path).has_cameras
    assert unlabelled(tmp_path, layout='cameras').train.cameras == 1


@pytest.mark.parametrize(
    ('names', 'cameras'),
    [
        (['c3_t0012_f000345.jpg', 'c12_t0001_f000001.jpg'], [0, 1]),
        (['cam1_12_345.png', 'cam2_12_346.png'], [0, 1]),
        (['Camera-1_t12_f3.jpg', 'camera-2_t12_f3.jpg'], [0, 1]),
        (['hall_t1_f2.jpg', 'door_track1_frame22.jpg'], [1, 0]),
        (['cam1_frame00012_track7.png', 'cam2_frame00012_track7.png'], [0, 1]),
        (['main_hall_f2_t1.jpg', 'door-frame22-track1.jpg'], [1, 0]),
        (['0007_cam2_t1_f3.jpg', 'person7-Camera_01-345.jpg'], [1, 0]),
        (['0001_c2_f0046182.jpg', '0002_c1_f0046182.jpg'], [1, 0]),
    ],
)
def test_names_of_a_tracker(tmp_path, photos, names, cameras):
    photos(tmp_path, names)
    splits = unlabelled(tmp_path)
    order = [path.rsplit('/', 1)[1] for path in splits.train.path]
    found = dict(zip(order, splits.train.camera.tolist(), strict=True))
    assert [found[name] for name in names] == cameras
    assert any(note.startswith("cameras from the images' names") for note in splits.notes)


def test_names_of_which_some_say_a_camera(tmp_path, photos):
    photos(tmp_path, ['c3_t0012_f000345.jpg', 'x.jpg'])
    splits = unlabelled(tmp_path)
    assert not splits.has_cameras
    note = next(n for n in splits.notes if n.startswith('cameras unknown: 1 of 2 names do not'))
    assert "e.g. 'x.jpg'; camera_pattern says where" in note


@pytest.mark.parametrize('names', [('1_12_345.jpg', '2_12_345.jpg'), ('in_1_9.jpg', 'out_1_9.jpg')])
@pytest.mark.parametrize('place', ['', 'train/7/', 'train/'])
def test_names_that_may_begin_with_the_camera_are_read_as_the_user_says(
    tmp_path, photos, names, place
):
    photos(tmp_path, [place + name for name in names])
    splits = jreid.data.load('folder', tmp_path)
    assert not splits.has_cameras
    assert any(
        f"2 of 2 names do not say one, e.g. '{names[0]}'; camera_pattern says where" in note
        for note in splits.notes
    )
    for pattern in ('^([^_]+)_', '^(?P<camera>[^_]+)_'):
        splits = jreid.data.load('folder', tmp_path, camera_pattern=pattern)
        assert splits.train.camera.tolist() == [0, 1]
    # A name in which the user's pattern finds nothing is counted, as all that cannot be read.
    photos(tmp_path, [f'{place}x.jpg'])
    with pytest.raises(ValueError, match='1 of 3 images .* have no camera in their name, where'):
        jreid.data.load('folder', tmp_path, camera_pattern='^([^_]+)_')
    with pytest.warns(UserWarning, match='left out: 1 of 3'):
        jreid.data.load('folder', tmp_path, camera_pattern='^([^_]+)_', bad_files='skip')


@pytest.mark.parametrize(
    'options',
    [
        {'camera_pattern': r'^(?P<identity>\d+)_(?P<camera>\d+)_'},
        {'camera_pattern': r'^\d+_(\d+)', 'identity_pattern': r'^(\d+)'},
    ],
)
def test_names_of_one_folder_say_identity_and_camera_where_the_user_says_so(
    tmp_path, photos, options
):
    photos(tmp_path, ['7_1_3.jpg', '7_2_9.jpg', '9_1_3.jpg'])
    splits = jreid.data.load('folder', tmp_path, **options)
    assert splits.train.identity.tolist() == [0, 0, 1]
    assert splits.train.camera.tolist() == [0, 1, 0]
    photos(tmp_path, ['hall.jpg'])
    with pytest.raises(ValueError, match='1 of 4 images .* have no identity in their name, where'):
        jreid.data.load('folder', tmp_path, **options)


def test_some_names_of_identities_without_a_camera_are_answered_with_the_option(tmp_path, photos):
    photos(tmp_path, ['train/7/a_c1.jpg', 'train/8/a.jpg'])
    with pytest.raises(ValueError, match='1 of 2 images have no camera, .*; camera_pattern says'):
        jreid.data.load('folder', tmp_path)


def test_training_folder_alone(tmp_path, photos):
    photos(tmp_path, ['train/7/a_c1.jpg', 'train/8/a_c2.jpg'])
    splits = jreid.data.load('folder', tmp_path)
    assert splits.has_labels
    assert not splits.has_test
    with pytest.raises(ValueError, match='the query split is empty in'):
        jreid.data.load('folder', tmp_path, test=True)
    photos(tmp_path, ['query/7/a_c1.jpg'])
    with pytest.raises(FileNotFoundError, match='lacks the folders gallery'):
        jreid.data.load('folder', tmp_path)
    assert not jreid.data.load('folder', tmp_path, test=False).has_test


def test_unlabelled_training_folder_beside_a_labelled_test_split(tmp_path, photos):
    photos(tmp_path, ['train/a_c1.jpg', 'train/b_c2.jpg', 'query/7/x_c1.jpg', 'gallery/7/x_c2.jpg'])
    splits = jreid.data.load('folder', tmp_path)
    assert splits.has_labels
    assert splits.has_test
    assert splits.train.identity.tolist() == [-1, -1]
    assert splits.train.camera.tolist() == [0, 1]


def test_folders_of_identities_are_not_taken_for_cameras(tmp_path, photos):
    photos(tmp_path, ['0002/0002_c1s1_000451_03.jpg', '0002/0002_c2s1_000451_03.jpg', '7/a_c1.jpg'])
    with pytest.raises(ValueError, match=r"folder '0002' are of several cameras \(1, 2\)"):
        jreid.data.load('folder', tmp_path)
    assert unlabelled(tmp_path, layout='cameras').train.cameras == 2


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('x.jpg', "1 of 3 images in .* lie right in the folder, .*; e.g. 'x.jpg'"),
        ('hall/monday/x.jpg', "1 of 3 images in .* lie deeper .*; e.g. 'hall/monday/x.jpg'"),
    ],
)
def test_images_at_another_depth_are_counted(tmp_path, photos, name, message):
    photos(tmp_path, ['hall/1.jpg', 'door/1.jpg', name])
    with pytest.raises(ValueError, match=message):
        jreid.data.load('folder', tmp_path)
    with pytest.warns(UserWarning, match='left out: 1 of 3 images'):
        assert len(jreid.data.load('folder', tmp_path, bad_files='skip').train) == 2


def test_deeper_images_count_to_the_first_folder_where_it_is_said_to_be_a_camera(tmp_path, photos):
    photos(tmp_path, ['hall/monday/1.jpg', 'door/12/000345.jpg'])
    assert unlabelled(tmp_path, layout='cameras').train.camera.tolist() == [0, 1]


def test_images_beside_a_csv_file_of_another_name_are_not_taken_as_unlabelled(tmp_path, photos):
    photos(tmp_path, ['hall/1.jpg', 'door/1.jpg'])
    (tmp_path / 'labels.csv').write_text('image\n')
    with pytest.raises(FileNotFoundError, match=r'but labels.csv: name one .*, or pass layout='):
        jreid.data.load('folder', tmp_path)
    assert unlabelled(tmp_path, layout='cameras').train.cameras == 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'layout': 'people'}, "layout is 'people'; expected 'auto', 'csv', 'splits', 'cameras',"),
        ({'camera_pattern': 'c('}, 'camera_pattern .* is no regular expression'),
        (
            {'identity_pattern': r'c\d'},
            'identity_pattern .* has no group for the id.*; put brackets',
        ),
        ({'camera_pattern': r'(?P<identity>\d+)'}, 'has no group for the camera; put brackets'),
        ({'camera_pattern': 3}, 'folder: camera_pattern is 3; expected a text'),
        (
            {'camera_pattern': r'(?P<identity>.)_(?P<camera>.)', 'identity_pattern': '(.)'},
            'has a group named identity, and identity_pattern is .*expected one of them',
        ),
    ],
)
def test_options_are_checked(tmp_path, photos, options, message):
    photos(tmp_path, ['a.jpg'])
    with pytest.raises(ValueError, match=message):
        jreid.data.load('folder', tmp_path, **options)


def test_other_places_are_told(tmp_path, photos):
    photos(tmp_path, ['query/0001_c1s1_01_00.jpg', 'bounding_box_train/0002_c1s1_01_00.jpg'])
    with pytest.raises(
        FileNotFoundError, match='bounding_box_train is a folder of the sets market1'
    ):
        jreid.data.load('folder', tmp_path)
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(FileNotFoundError, match=r'notes.txt is a file, expected a folder. The lay'):
        jreid.data.load('folder', tmp_path / 'notes.txt')


def test_no_table_where_one_is_asked_for(tmp_path, photos):
    photos(tmp_path, ['a.jpg'])
    with pytest.raises(FileNotFoundError, match='index.csv was not found'):
        jreid.data.load('folder', tmp_path, layout='csv')
