"""`jreid rank` on features that other programs wrote."""

import numpy as np
import pytest

from jreid.commands import cli, identities
from jreid.commands.extract import Features

X = np.asarray([[0, 0], [3, 4], [10, 0]])


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64, np.int8])
def test_rank_takes_plain_arrays(tmp_path, dtype, capsys):
    np.save(tmp_path / 'g.npy', X.astype(dtype))
    np.savez(tmp_path / 'q.npz', feats=X[1:2].astype(dtype))
    assert cli.main(['rank', str(tmp_path / 'g.npy'), str(tmp_path / 'q.npz'), '--top=2']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ['0.0000', '5.0000']
    assert lines[1].endswith('/row1')


def test_labels_words_and_relative_paths(tmp_path):
    names = np.asarray(['a/0.jpg', 'a/1.jpg', '/b/2.jpg'])
    words = np.asarray(['eve', 'ann', 'eve'])
    np.savez(
        tmp_path / 'f.npz', features=X, pids=words, camids=np.asarray([[0], [1], [2]]), path=names
    )
    loaded = Features.load(tmp_path / 'f.npz')
    assert loaded.images.path.tolist() == [
        str(tmp_path / 'a/0.jpg'),
        str(tmp_path / 'a/1.jpg'),
        '/b/2.jpg',
    ]
    assert loaded.images.identity.tolist() == [1, 0, 1]
    assert loaded.images.camera.tolist() == [0, 1, 2]
    assert (loaded.run, loaded.features.dtype) == ('', np.float32)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        ({'x': X}, "has x int64 .3, 2.; expected 'features'"),
        ({'features': X[0]}, "expected 'features' .images, width"),
        ({'features': X.astype(str)}, 'expected real numbers'),
        ({'features': X, 'ids': np.arange(2)}, 'identities are int64 .2,.'),
        ({'features': X, 'cams': np.zeros((3, 2))}, 'cameras are int64 .3, 2.; expected whole'),
        ({'features': X, 'cams': np.zeros(3, complex)}, 'cameras are complex128'),
        ({'features': X, 'ids': np.asarray([1, 2.5, 3])}, 'identities hold 2.5; expected whole'),
        ({'features': X, 'ids': np.full(3, np.inf)}, 'identities hold inf; expected whole'),
        ({'features': X, 'ids': np.full(3, 1e300)}, r'identities hold 1e\+300; expected whole'),
        ({'features': X, 'paths': np.arange(3)}, 'paths are int64'),
    ],
)
def test_files_of_another_form_are_answered(tmp_path, arrays, message):
    np.savez(tmp_path / 'f.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        Features.load(tmp_path / 'f.npz')


def test_whole_numbers_of_floating_point_are_labels(tmp_path):
    ids = np.asarray([3, np.nan, 12], np.float32)
    np.savez(tmp_path / 'f.npz', features=X, ids=ids, cams=np.asarray([[1.0], [2.0], [-1.0]]))
    loaded = Features.load(tmp_path / 'f.npz').images
    assert loaded.identity.tolist() == [3, -1, 12]
    assert loaded.names('identity') == ['3', '', '12']
    assert loaded.camera.tolist() == [1, 2, -1]


def test_pixels_are_no_names(tmp_path):
    pixels = np.zeros((3, 8, 4, 3), np.uint8)
    np.savez(tmp_path / 'f.npz', features=X, images=pixels)
    assert [path.rsplit('/', 1)[1] for path in Features.load(tmp_path / 'f.npz').images.path] == [
        'row0',
        'row1',
        'row2',
    ]
    np.savez(tmp_path / 'f.npz', features=X, images=pixels, names=np.asarray(['a', 'b', 'c']))
    assert Features.load(tmp_path / 'f.npz').images.path[2] == str(tmp_path / 'c')


def test_images_as_queries_need_a_run(tmp_path, capsys):
    np.save(tmp_path / 'g.npy', X)
    assert cli.main(['rank', str(tmp_path / 'g.npy'), 'query.jpg']) == 1
    assert 'names no run to extract the queries with' in capsys.readouterr().err


def test_files_of_other_kinds_are_told_apart(tmp_path, capsys):
    np.save(tmp_path / 'objects.npy', np.asarray([{}, 'x'], object), allow_pickle=True)
    (tmp_path / 'text.npz').write_text('no arrays')
    (tmp_path / 'q.parquet').write_bytes(b'PAR1')
    (tmp_path / 'v.mp4').write_bytes(b'x')
    np.save(tmp_path / 'g.npy', X)

    def refused(*words):
        assert cli.main(list(map(str, words))) == 1
        return capsys.readouterr().err

    assert 'arrays of numbers and words' in refused('rank', tmp_path / 'objects.npy', 'q.npz')
    assert 'arrays of numbers and words' in refused('rank', tmp_path / 'text.npz', 'q.npz')
    assert 'is a folder; expected a file' in refused('rank', tmp_path, 'q.npz')
    (tmp_path / 'config.json').write_text('{}')
    advice = f'is a run; expected features: jreid extract {tmp_path} IMAGES --out=FILE.npz'
    assert advice in refused('rank', tmp_path, 'q.npz')
    np.savez(tmp_path / 'features.npz')
    assert f"or its target's, {tmp_path}/features.npz" in refused('rank', tmp_path, 'q.npz')
    run = f'--run={tmp_path}'
    assert 'a file of features' in refused('rank', tmp_path / 'g.npy', tmp_path / 'q.parquet', run)
    words = [tmp_path, tmp_path / 'v.mp4', '--identities', f'--out={tmp_path / "o"}']
    assert identities.main(list(map(str, words))) == 1
    assert 'takes the frames of videos' in capsys.readouterr().err
