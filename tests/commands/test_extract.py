"""`jreid extract`: images that cannot be read, and lists that are wrong."""

import numpy as np
import pytest
from PIL import Image

from jreid.commands import cli, rank
from jreid.commands.extract import Features, Listing, listing


def test_unreadable_images_end_or_are_left_out(source_only_run, people, tmp_path, capsys):
    (tmp_path / 'images' / 'deep').mkdir(parents=True)
    good = sorted((people / 'two' / 'query').glob('*.jpg'))[:2]
    for i, path in enumerate(good):
        (tmp_path / 'images' / 'deep' / f'{i}.jpg').write_bytes(path.read_bytes())
    (tmp_path / 'images' / 'bad.jpg').write_bytes(b'nothing')
    (tmp_path / 'images' / 'notes.txt').write_text('no image')
    words = [
        'extract',
        str(source_only_run),
        str(tmp_path / 'images'),
        '--out',
        str(tmp_path / 'f.npz'),
    ]
    assert cli.main([*words, '--batch', '7']) == 1
    assert 'bad.jpg' in capsys.readouterr().err
    assert cli.main([*words, '--batch', '7', '--skip-bad']) == 0
    assert [path.rsplit('/', 1)[1] for path in Features.load(tmp_path / 'f.npz').images.path] == [
        '0.jpg',
        '1.jpg',
    ]


def test_gaps_of_pandas_are_counted(tmp_path, caplog):
    for name in ('1.jpg', '2.jpg'):
        (tmp_path / name).write_bytes(b'x')
    (tmp_path / 'a.csv').write_text('image,identity\n1.jpg,nan\n2.jpg,NaN\n')
    with caplog.at_level('INFO', logger='jreid'):
        assert listing([tmp_path / 'a.csv']).names('identity') == ['', 'NaN']
    assert '1 labels of' in caplog.text
    assert 'are nan, as pandas writes gaps: read as empty' in caplog.text


def test_listing_tells_what_is_wrong(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'a.csv').write_text('file,identity\nx.jpg,1\n')
    with pytest.raises(FileNotFoundError, match='is no image, folder or CSV file'):
        listing([tmp_path / 'missing'])
    with pytest.raises(ValueError, match='no image in'):
        listing([tmp_path / 'empty'])
    with pytest.raises(ValueError, match=r"no column image, it has \['file', 'identity'\]"):
        listing([tmp_path / 'a.csv'])


@pytest.fixture
def photos():
    """Returns a function (folder, names) that writes a small image under each name."""

    def write(folder, names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (4, 8)).save(folder / name)

    return write


def test_listing_takes_what_the_readers_of_sets_take(tmp_path, photos):
    photos(tmp_path / 'set', ['x.jpg/a.jpg', 'b.gif', 'C.PNG'])
    (tmp_path / 'set' / '._a.jpg').write_bytes(b'a resource fork')
    photos(tmp_path / 'elsewhere', ['d.jpg'])
    (tmp_path / 'set' / 'link').symlink_to(tmp_path / 'elsewhere')
    found = [path.removeprefix(f'{tmp_path}/') for path in listing([tmp_path / 'set']).path]
    assert found == ['set/C.PNG', 'set/b.gif', 'set/link/d.jpg', 'set/x.jpg/a.jpg']
    (tmp_path / 'set' / 'gone.jpg').symlink_to(tmp_path / 'gone')
    with pytest.raises(ValueError, match="1 of 5 images .* are links to nothing .*'gone.jpg'"):
        listing([tmp_path / 'set'])
    with pytest.warns(UserWarning, match='left out: 1 of 5'):
        assert len(listing([tmp_path / 'set'], bad_files='skip')) == 4


def test_listing_takes_the_users_own_index(tmp_path, photos):
    photos(tmp_path, ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg'])
    (tmp_path / 'index.csv').write_text(
        ',image,identity,camera,split\n0,a.jpg,zoe,1.0,train\n1,b.jpg,ann,,query\n'
        '2,c.jpg,,2.0,train\n3,d.jpg,-1,1.0,gallery\n4,e.jpg,ann,1.0,gallery\n'
    )
    images = listing([tmp_path / 'index.csv'])
    assert [path[-5] for path in images.path] == ['a', 'b', 'c', 'e']
    assert images.identity.tolist() == [1, 0, -1, 0]
    assert images.identity_name.tolist() == ['zoe', 'ann', '', 'ann']
    assert images.camera.tolist() == [1, -1, 2, 1]
    assert images.camera_name.tolist() == ['1', '', '2', '1']


def test_listing_reads_a_folder_as_the_sets_do(tmp_path, photos):
    photos(tmp_path, ['cams/cam2/a.jpg', 'cams/cam10/b.jpg', 'set/0001/a.jpg', 'set/-1/b.jpg'])
    photos(tmp_path, ['track/c3_t0012_f000345.jpg', 'track/c1_t0001_f000001.jpg', 'own/a.jpg'])
    cameras = listing([tmp_path / 'cams'])
    assert cameras.camera.tolist() == [10, 2]
    assert listing([tmp_path / 'track']).camera.tolist() == [1, 3]
    junk = listing([tmp_path / 'set'])
    assert [path.split('/')[-2] for path in junk.path] == ['0001']
    assert junk.camera.tolist() == [-1]
    (tmp_path / 'own' / 'index.csv').write_text('image,identity,camera\na.jpg,ann,5\n')
    own = listing([tmp_path / 'own'])
    assert (own.names('identity'), own.camera.tolist()) == (['ann'], [5])


def test_words_of_two_files_are_matched(tmp_path):
    names = np.asarray(['/a.jpg', '/b.jpg', '/c.jpg'])
    cameras = np.asarray([1, 2, 1])
    gallery = Listing(names, np.asarray([0, 1, -1]), cameras, np.asarray(['ann', 'bob', '']))
    query = Listing(names[:1], np.asarray([0]), cameras[:1], np.asarray(['bob']))
    features = Features(gallery, np.asarray([[0.0], [1.0], [2.0]], np.float32), '/run')
    features.save(tmp_path / 'f.npz')
    features = Features.load(tmp_path / 'f.npz')
    assert features.images.identity_name.tolist() == ['ann', 'bob', '']
    one = Features(query, np.zeros((1, 1), np.float32), '/run')
    ranking = rank.ranked(one, features)
    assert ranking.correct[0].tolist() == [False, True, False]
    rows = rank.rows(one, features, ranking)
    assert [row['identity'] for row in rows] == ['ann', 'bob', '']
    assert [row['camera'] for row in rows] == [1, 2, 1]
