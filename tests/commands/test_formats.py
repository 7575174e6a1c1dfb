"""`jreid extract --format`, videos, and the features that a run keeps."""

import csv
import json
import shutil

import numpy as np
import pytest

from jreid.commands import cli, extract, feature_files
from jreid.commands.extract import Features, Listing
from jreid.data import Index, video
from jreid.run.loading import load_run
from jreid.run.records import write_features

X = np.asarray([[0.1, 2, -3], [4, 1e-7, 6]], np.float32)


@pytest.fixture
def features():
    camera = np.asarray([0, -1], np.int32)
    who = np.asarray(['eve', ''])
    images = Listing(np.asarray(['/a,b.jpg', '/c.jpg']), np.asarray([0, -1]), camera, who)
    return Features(images, X, '/r')


def test_csv_keeps_every_digit(features, tmp_path):
    features.save(tmp_path / 'f.csv', format='csv')
    with open(tmp_path / 'f.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['image'], row['identity'], row['camera']) for row in rows] == [
        ('/a,b.jpg', 'eve', '0'),
        ('/c.jpg', '', ''),
    ]
    numbers = [[row[f'feature_{i}'] for i in range(3)] for row in rows]
    np.testing.assert_array_equal(np.asarray(numbers, np.float32), X)


def test_parquet_has_lists_of_numbers_and_nulls(features, tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    features.save(tmp_path / 'f.parquet', format='parquet')
    table = parquet.read_table(tmp_path / 'f.parquet')
    assert table.column('identity').to_pylist() == ['eve', None]
    assert table.column('camera').to_pylist() == ['0', None]
    assert table.schema.metadata[b'jreid.run'] == b'/r'
    np.testing.assert_array_equal(np.asarray(table.column('feature').to_pylist(), np.float32), X)


def test_parquet_without_its_package_is_refused_first(features, tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(feature_files.importlib, 'import_module', missing)
    with pytest.raises(ImportError, match=r"pip install 'jreid\[parquet\]'"):
        features.save(tmp_path / 'f.parquet', format='parquet')
    assert not list(tmp_path.iterdir())


def test_suffix_and_format_must_agree(tmp_path, capsys):
    words = ['extract', 'nowhere', 'x.jpg', f'--out={tmp_path / "f.npz"}', '--format=csv']
    assert cli.main(words) == 1
    assert 'needs the suffix .csv' in capsys.readouterr().err
    assert cli.main(['extract', 'nowhere', 'x.jpg', '--out=f.xlsx']) == 1
    assert "'f.xlsx'; as npz it needs the suffix .npz" in capsys.readouterr().err
    assert cli.main(['extract', 'nowhere', 'x.jpg', '--out=f.npz', '--batch=0']) == 1
    assert '--batch is 0' in capsys.readouterr().err


def test_features_of_a_run_move_with_it(tmp_path):
    run, data = tmp_path / 'run', tmp_path / 'data'
    run.mkdir()
    settings = {'target': 'folder', 'target_root': str(data), 'source_root': '', 'source': 'x'}
    (run / 'config.json').write_text(json.dumps({'data': {**settings, 'root': '/d'}}))
    index = Index(np.asarray([str(data / 'a.jpg'), str(data / 'b/c.jpg')]), *np.zeros((2, 2), int))
    path = write_features(run, index, X, np.asarray([5, -1]))
    with np.load(path) as file:
        assert (file['path'].tolist(), str(file['run'])) == (['a.jpg', 'b/c.jpg'], '.')
    moved = tmp_path / 'moved'
    shutil.move(run, moved)
    loaded = Features.load(moved / 'features.npz')
    assert loaded.images.path.tolist() == index.path.tolist()
    assert (loaded.run, loaded.images.identity.tolist()) == (str(moved), [5, -1])
    # A label that the run made is no person's name.
    assert loaded.images.names('identity') == ['group 5', '']


def write_video(path, count=5, rotation=0):
    """Writes frames of 48 x 64 pixels, whose left half is red."""
    av = pytest.importorskip('av')
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        if rotation:
            if not hasattr(stream, 'set_display_rotation'):
                pytest.skip('this PyAV cannot write a rotation')
            stream.set_display_rotation(rotation)
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:, :32, 0] = 250
        frames = [av.VideoFrame.from_ndarray(pixels, format='rgb24')] * count
        for frame in [*frames, None]:
            for packet in stream.encode(frame):
                container.mux(packet)


def test_frames_are_numbered_and_turned(tmp_path):
    write_video(tmp_path / 'v.MP4')
    found = dict(video.frames(tmp_path / 'v.MP4', every=2))
    assert list(found) == [0, 2, 4]
    assert (found[0].shape, found[0].dtype) == ((48, 64, 3), np.uint8)
    assert found[0][10, 10, 0] > 200 > 50 > found[0][10, 50, 0]
    write_video(tmp_path / 'turned.mp4', rotation=90)
    ((_, turned),) = video.frames(tmp_path / 'turned.mp4', every=9)
    assert turned.shape == (64, 48, 3)
    assert turned[50, 10, 0] > 200 > 50 > turned[10, 10, 0]  # left became below


def test_extract_takes_a_video_and_images(source_only_run, people, tmp_path, capsys):
    write_video(tmp_path / 'v.mp4', count=3)
    image = sorted((people / 'two' / 'query').glob('*.jpg'))[0]
    out = tmp_path / 'f.npz'
    words = ['extract', str(source_only_run), str(image), str(tmp_path / 'v.mp4')]
    assert cli.main([*words, f'--out={out}', '--every=2', '--batch=4']) == 0
    loaded = Features.load(out)
    video_path = tmp_path / 'v.mp4'
    names = [str(image), f'{video_path}#frame=0', f'{video_path}#frame=2']
    assert (loaded.images.path.tolist(), loaded.run) == (names, str(source_only_run))
    frames = [frame for _, frame in video.frames(video_path, every=2)]
    expected = load_run(source_only_run)([image, *frames])
    np.testing.assert_allclose(loaded.features, expected, rtol=1e-5, atol=1e-6)
    assert cli.main(['rank', str(out), str(out), f'--sheet={tmp_path / "s.png"}']) == 1
    assert 'leave --sheet out' in capsys.readouterr().err


class Means:
    """A model whose features are mean colours, three images per step."""

    batch = 3

    def __init__(self):
        self.steps = []

    def __call__(self, images):
        self.steps.append(len(images))
        return np.stack([np.asarray(image).mean((0, 1), dtype=np.float32) for image in images])


def frames_of(count):
    """What `video.frames` gives: frame n is all of colour n."""

    def frames(path, *, every):
        for number in range(0, count, every):
            yield number, np.full((2, 2, 3), number, np.uint8)

    return frames


def test_a_videos_frames_go_through_the_model_batch_by_batch(monkeypatch, tmp_path):
    monkeypatch.setattr(video, 'frames', frames_of(7))
    model, path = Means(), tmp_path / 'v.mp4'
    found = extract.of_video(model, str(path), progress=False)
    assert model.steps == [3, 3, 1]
    assert found.images.path.tolist() == [f'{path}#frame={n}' for n in range(7)]
    assert found.images.names('identity') == [''] * 7
    np.testing.assert_array_equal(found.features, np.repeat(np.arange(7.0)[:, None], 3, axis=1))
    monkeypatch.setattr(video, 'frames', frames_of(0))
    with pytest.raises(ValueError, match='cannot be read as a video: it has no frame'):
        extract.of_video(model, str(path), progress=False)


def test_features_of_images_and_videos_lie_in_one_file(features, monkeypatch, tmp_path, capsys):
    """The images come first, with their labels; videos follow, each with the frames asked for."""
    monkeypatch.setattr(video, 'frames', frames_of(5))
    monkeypatch.setattr(video, 'check', lambda path: None)
    monkeypatch.setattr(extract, 'load_run', lambda run, **keywords: Means())
    monkeypatch.setattr(extract, 'listing', lambda names, **keywords: names)
    monkeypatch.setattr(extract, 'extract', lambda run, images, **keywords: features)
    out = tmp_path / 'f.npz'
    words = ['extract', 'run', 'a.jpg', 'v.mp4', f'--out={out}']
    assert cli.main([*words, '--every=4']) == 0
    assert f'{out}: 4 images, 3 numbers each' in capsys.readouterr().out
    loaded = Features.load(out)
    names = [path.rsplit('/', 1)[1] for path in loaded.images.path]
    assert names == ['a,b.jpg', 'c.jpg', 'v.mp4#frame=0', 'v.mp4#frame=4']
    assert loaded.images.names('identity') == ['eve', '', '', '']
    np.testing.assert_array_equal(loaded.features, [*X, [0] * 3, [4] * 3])
    assert cli.main([*words, '--every=0']) == 1
    assert '--every is 0; expected 1 (each frame) or more' in capsys.readouterr().err
    assert cli.main(['extract', 'run', 'v.mp4', f'--out={out}']) == 0
    assert Features.load(out).images.path.shape == (5,)


def test_videos_that_cannot_be_read_are_answered(tmp_path, monkeypatch, capsys):
    (tmp_path / 'v.mp4').write_bytes(b'no video')
    words = ['extract', 'nowhere', str(tmp_path / 'v.mp4'), f'--out={tmp_path / "f.npz"}']
    with monkeypatch.context() as patch:
        patch.setitem(__import__('sys').modules, 'av', None)
        assert cli.main(words) == 1
    assert "pip install 'jreid[video]'" in capsys.readouterr().err
    assert cli.main(['extract', 'nowhere', 'no.mp4', '--out=f.npz']) == 1
    assert 'no.mp4 is no file; expected a video' in capsys.readouterr().err
    with pytest.raises(ValueError, match='every is 0'):
        next(video.frames(tmp_path / 'v.mp4', every=0))
    pytest.importorskip('av')
    with pytest.raises(ValueError, match='cannot be read as a video'):
        next(video.frames(tmp_path / 'v.mp4'))
    assert not (tmp_path / 'f.npz').exists()
