"""VIPeR, PRID2011, GRID, i-LIDS and CUHK01 on small trees with the sets' exact names."""

import collections
import functools
import json
import os

import pytest

import jreid.data
from jreid.data.datasets import repeated

PEOPLE = (0, 1, 2, 3, 5, 8, 45, 873)
TREES = {
    'viper': [
        f'VIPeR/{cam}/{person:03d}_{angle}.bmp'
        for person in PEOPLE
        for cam, angle in (('cam_a', 45), ('cam_b', 90))
    ],
    'prid2011': (
        [f'prid_2011/single_shot/cam_a/person_{p:04d}.png' for p in (*range(1, 9), 201, 202, 203)]
        + [
            f'prid_2011/single_shot/cam_b/person_{p:04d}.png'
            for p in (*range(1, 9), 201, 202, 203, 204, 205)
        ]
    ),
    'grid': (
        [
            f'underground_reid/probe/{p:04d}_{1 + p % 3}_25004_107_32_106_221.jpeg'
            for p in range(1, 9)
        ]
        + [
            f'underground_reid/gallery/{p:04d}_{5 + p % 3}_25023_116_134_128_330.jpeg'
            for p in range(1, 9)
        ]
        + [f'underground_reid/gallery/0000_{c}_2500{c}_1_2_3_4.jpeg' for c in range(1, 8)]
    ),
    'ilids': [
        f'i-LIDS_Person/{p:04d}{k:03d}.jpg' for p in range(1, 9) for k in range(1, 3 + p % 3)
    ],
    'cuhk01': [f'campus/{p:04d}{k:03d}.png' for p in range(1, 9) for k in range(1, 5)],
}
OPTIONS = {'cuhk01': {'test_people': 4}}


@pytest.fixture
def tree(tmp_path, photos):
    def make(name, extra=()):
        photos(tmp_path, [*TREES[name], *extra])
        return tmp_path

    return make


def read(name, root, **options):
    return jreid.data.load(name, root, expected=False, **{**OPTIONS.get(name, {}), **options})


def bases(index):
    return [os.path.basename(path) for path in index.path]


def people_of(index):
    """Returns the people that the images' names tell, whatever the index says."""
    return {
        int(''.join(c for c in os.path.basename(p).replace('person_', '')[:4] if c.isdigit()))
        for p in index.path
    }


@pytest.mark.parametrize(
    ('name', 'sizes'),
    [('viper', (8, 4, 4)), ('prid2011', (8, 4, 9)), ('grid', (8, 4, 11)), ('cuhk01', (16, 8, 4))],
)
def test_sizes_and_sides(name, sizes, tree):
    """Each query has exactly one match in the gallery, in another camera."""
    splits = read(name, tree(name))
    assert tuple(len(index) for _, index in splits.parts()) == sizes
    assert not people_of(splits.train) & people_of(splits.query)
    gallery = collections.Counter(splits.gallery.identity.tolist())
    assert all(gallery[i] == 1 for i in splits.query.identity.tolist())
    for identity, camera in zip(splits.query.identity, splits.query.camera, strict=True):
        assert splits.gallery.camera[splits.gallery.identity == identity] != camera
    assert people_of(splits.query) == set(splits.query.identity.tolist())


def test_people_of_prid2011_with_a_number_in_one_camera_alone(tree):
    """People above 200 of camera A are not used; those of camera B are in each gallery."""
    root = tree('prid2011')
    for split in range(3):
        splits = read('prid2011', root, split=split)
        assert people_of(splits.train) | people_of(splits.query) == set(range(1, 9))
        assert {i for i in splits.gallery.identity.tolist() if i > 200} == {201, 202, 203, 204, 205}
        assert all('cam_b' in path for path in splits.gallery.path)
        assert all('cam_a' in path for path in splits.query.path)


def test_distractors_of_grid(tree):
    splits = read('grid', tree('grid'))
    assert (splits.gallery.identity == 0).sum() == 7
    assert splits.train.identities == 4
    assert 0 not in people_of(splits.train)
    name = bases(splits.query)[0]
    assert splits.query.camera[0] == int(name[5]) - 1


def test_ilids_has_one_gallery_image_per_person_and_no_camera(tree):
    splits = read('ilids', tree('ilids'))
    assert not splits.has_cameras
    assert 'cameras unknown' in splits.summary()
    assert sorted(splits.gallery.identity.tolist()) == sorted(set(splits.query.identity.tolist()))
    everything = bases(splits.train) + bases(splits.query) + bases(splits.gallery)
    assert sorted(everything) == sorted(os.path.basename(name) for name in TREES['ilids'])
    assert any(
        base[4:7] != '001'
        for base in bases(read('ilids', splits.train.path[0].rsplit('/', 1)[0], split=1).gallery)
    )


def test_ilids_either_way(tmp_path, photos):
    """Of an odd number of people the greater half is tested, or trained on."""
    photos(tmp_path, [f'i-LIDS_Person/{p:04d}{k:03d}.jpg' for p in range(1, 8) for k in (1, 2)])
    for people, sizes in ((60, (3, 4)), (59, (4, 3))):
        splits = read('ilids', tmp_path, test_people=people)
        assert (splits.train.identities, len(splits.gallery)) == sizes
    with pytest.raises(ValueError, match='test_people of i-LIDS is 58; its 119 people are split'):
        read('ilids', tmp_path, test_people=58)


def test_gallery_of_ilids_is_in_the_file_of_splits(tree, tmp_path):
    """The gallery's images are drawn too, so another seed must read them from the file."""
    root, file = tree('ilids'), tmp_path / 'splits.json'
    drawn = [read('ilids', root, split=k, split_seed=7, write_splits=str(file)) for k in range(4)]
    entries = json.loads(file.read_text())['splits']
    for number, splits in enumerate(drawn):
        assert entries[number]['gallery'] == sorted(bases(splits.gallery))
        again = read('ilids', root, split=number, split_seed=0, split_file=str(file))
        for (_, a), (_, b) in zip(splits.parts(), again.parts(), strict=True):
            assert bases(a) == bases(b)
    bare = {'train': entries[0]['train'], 'test': entries[0]['test']}
    file.write_text(
        json.dumps(
            {
                'set': 'ilids',
                'splits': [bare, {**bare, 'gallery': [*entries[0]['gallery'][1:], '9999001.jpg']}],
            }
        )
    )
    assert bases(read('ilids', root, split_seed=7, split_file=str(file)).gallery) == bases(
        drawn[0].gallery
    )
    with pytest.raises(
        ValueError,
        match=(
            'split 1: its gallery of 4 images does not show each of the 4 test people once, .*; 3'
            ' of them are test images'
        ),
    ):
        read('ilids', root, split=1, split_file=str(file))


@pytest.mark.parametrize('name', ['viper', 'cuhk01'])
def test_both_directions_search_for_the_same_people(name, tree):
    root = tree(name)
    forth, back = (read(name, root, direction=d, split=2) for d in ('a2b', 'b2a'))
    assert bases(forth.train) == bases(back.train)
    assert set(forth.query.identity) == set(back.query.identity)
    assert set(forth.query.camera) == set(back.gallery.camera) == {0}
    assert set(forth.gallery.camera) == set(back.query.camera) == {1}
    with pytest.raises(ValueError, match="direction is 'b'"):
        read(name, root, direction='b')


def test_all_gallery_images_of_cuhk01(tree):
    splits = read('cuhk01', tree('cuhk01'), shots='all')
    assert len(splits.gallery) == 8
    with pytest.raises(ValueError, match="shots is 'two'"):
        read('cuhk01', splits.train.path[0].rsplit('/', 1)[0], shots='two')


@pytest.mark.parametrize('name', list(TREES))
def test_splits_are_seeded_and_others_can_use_them(name, tree, tmp_path):
    """A file gives the same splits; another split number or seed gives other people."""
    root, file = tree(name), tmp_path / 'splits' / f'{name}.json'
    first = read(name, root, split=3, write_splits=str(file))
    again = read(name, root, split=3)
    other = read(name, root, split=4)
    reseeded = read(name, root, split=3, split_seed=1)
    assert bases(first.train) == bases(again.train)
    assert bases(first.gallery) == bases(again.gallery)
    assert people_of(first.train) not in (people_of(other.train), people_of(reseeded.train))
    content = json.loads(file.read_text())
    assert content['set'] == name
    assert len(content['splits']) == 10
    assert set(content['splits'][3]['train']) == people_of(first.train)
    assert len({tuple(split['train']) for split in content['splits']}) > 5
    shared = read(name, root, split=3, split_file=str(file))
    for (_, a), (_, b) in zip(first.parts(), shared.parts(), strict=True):
        assert bases(a) == bases(b)
    read(name, root, split=9, write_splits=str(file))
    with pytest.raises(ValueError, match='holds other splits than those of seed 5'):
        read(name, root, split_seed=5, write_splits=str(file))
    with pytest.raises(ValueError, match=r'split is 10; .* has the splits 0..9'):
        read(name, root, split=10)


def test_drawn_splits_do_not_change():
    """Published numbers depend on these splits; a change makes them incomparable."""
    assert repeated.draw(range(1, 7), train=3, splits=2, seed=0) == (
        repeated.Split((3, 4, 6), (1, 2, 5)),
        repeated.Split((2, 4, 5), (1, 3, 6)),
    )
    assert repeated.draw(range(1, 7), train=3, splits=4, seed=0)[:2] == repeated.draw(
        range(1, 7), train=3, splits=2, seed=0
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is no split file'),
        ('{"set": "viper"}', 'is no split file: KeyError'),
        ('{"set": "grid", "splits": []}', "holds splits of 'grid'"),
        (
            '{"set": "viper", "splits": [{"train": [1, 9], "test": [2]}]}',
            r'split 0: 1 people are not in the set, e.g. \[9\]',
        ),
        ('{"set": "viper", "splits": [{"train": [1, 2], "test": [2]}]}', 'named twice'),
        ('{"set": "viper", "splits": [{"train": [], "test": [2]}]}', 'a part is empty'),
    ],
)
def test_files_that_are_no_splits(content, message, tree, tmp_path):
    (tmp_path / 'splits.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        read('viper', tree('viper'), split_file=str(tmp_path / 'splits.json'))


def test_split_files_are_named_once_and_must_exist(tree, tmp_path):
    root = tree('viper')
    with pytest.raises(ValueError, match='both given'):
        read('viper', root, split_file='a', write_splits='b')
    with pytest.raises(FileNotFoundError, match='no split file'):
        read('viper', root, split_file=str(tmp_path / 'none.json'))


@pytest.mark.parametrize(
    ('name', 'bad'),
    [
        ('viper', 'VIPeR/cam_a/45.bmp'),
        ('prid2011', 'prid_2011/single_shot/cam_b/person_0000.png'),
        ('grid', 'underground_reid/probe/0001.jpeg'),
        ('ilids', 'i-LIDS_Person/0001.jpg'),
        ('cuhk01', 'campus/0001005.png'),
    ],
)
def test_misnamed_images(name, bad, tree):
    root = tree(name, [bad])
    with pytest.raises(
        ValueError, match=f'1 of .* expected names like .* {os.path.basename(bad)!r}'
    ):
        read(name, root)
    with pytest.warns(UserWarning, match='left out: 1 of'):
        read(name, root, bad_files='skip')


@pytest.mark.parametrize('name', list(TREES))
def test_parts_of_a_set_are_noticed(name, tree):
    with pytest.warns(UserWarning, match='is not the whole set .*the set has'):
        jreid.data.load(name, tree(name), **OPTIONS.get(name, {}))


WHOLE = {
    'cuhk01': [f'campus/{p:04d}{k:03d}.png' for p in range(1, 972) for k in range(1, 5)],
    'viper': [f'VIPeR/{cam}/{p:03d}_0.bmp' for p in range(632) for cam in ('cam_a', 'cam_b')],
    'ilids': [f'i-LIDS_Person/{p:04d}{k:03d}.jpg' for p in range(1, 120) for k in range(1, 5)],
    'prid2011': [
        f'single_shot/cam_{c}/person_{p:04d}.png'
        for c, n in (('a', 385), ('b', 749))
        for p in range(1, n + 1)
    ],
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Returns a function from a name to a whole set; its images link to one file of one byte."""

    @functools.cache
    def make(name):
        root = tmp_path_factory.mktemp(name)
        (root / 'one').write_bytes(b'x')
        for folder in {os.path.dirname(image) for image in WHOLE[name]}:
            (root / folder).mkdir(parents=True)
        for image in WHOLE[name]:
            os.link(root / 'one', root / image)
        return root

    return make


@pytest.mark.parametrize(
    ('name', 'options', 'people', 'sizes'),
    [
        ('cuhk01', {}, (871, 100), (3484, 200, 100)),
        ('cuhk01', {'test_people': 486}, (485, 486), (1940, 972, 486)),
        ('cuhk01', {'test_people': 486, 'shots': 'all'}, (485, 486), (1940, 972, 972)),
        ('viper', {}, (316, 316), (632, 316, 316)),
        ('ilids', {}, (59, 60), (236, 180, 60)),
        ('prid2011', {}, (100, 100), (200, 100, 649)),
    ],
)
def test_whole_sets_have_the_papers_sizes(name, options, people, sizes, whole):
    """Loads without a warning (warnings are errors), with the sets' own names and counts."""
    splits = jreid.data.load(name, whole(name), **options)
    assert (splits.train.identities, splits.query.identities) == people
    assert tuple(len(index) for _, index in splits.parts()) == sizes
    assert not people_of(splits.train) & people_of(splits.query)


@pytest.mark.parametrize('name', list(TREES))
def test_missing_set(name, tmp_path):
    with pytest.raises(FileNotFoundError, match='was not found'):
        read(name, tmp_path)


def test_person_of_viper_in_one_camera_alone(tree):
    root = tree('viper', ['VIPeR/cam_a/700_0.bmp'])
    with pytest.raises(ValueError, match='whom the other camera does not show'):
        read('viper', root)
    with pytest.warns(UserWarning, match='left out'):
        assert 700 not in people_of(read('viper', root, bad_files='skip').train)
