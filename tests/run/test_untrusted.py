"""Files from users and runs that are damaged: labels, sweeps, ranked results, features, lists."""

import dataclasses
import io
import pathlib
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangling import mangled
from PIL import Image

from jreid.commands.extract import Features, Listing, listing
from jreid.data.datasets import msmt17, peta
from jreid.report import gather, thumbnails
from jreid.run.rankings import FILE, Ranking


def ranking(**changes):
    two, three = (
        np.asarray(['/q/0.jpg', '/q/1.jpg']),
        np.asarray(['/g/0.jpg', '/g/1.jpg', '/g/2.jpg']),
    )
    numbers = {
        'query_identity': np.asarray([0, 1]),
        'query_camera': np.asarray([0, 0]),
        'average_precision': np.asarray([1, np.nan], np.float32),
    }
    numbers |= {
        'gallery_identity': np.asarray([0, 1, 1]),
        'gallery_camera': np.asarray([1, 1, 1]),
        'rows': np.asarray([[0, 2], [1, -1]], np.int32),
    }
    numbers |= {
        'distances': np.zeros((2, 2), np.float32),
        'correct': np.asarray([[True, False], [True, False]]),
    }
    return Ranking(**{'query_path': two, 'gallery_path': three, **numbers, **changes})


def features(**changes):
    paths, numbers = np.asarray(['/g/0.jpg', '/g/1.jpg']), np.asarray([0, 1], np.int32)
    return {
        'path': paths,
        'identity': numbers,
        'camera': numbers,
        'features': np.zeros((2, 3), np.float32),
        'run': np.asarray('/runs/demo'),
        **changes,
    }


def archive(arrays) -> bytes:
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


LABELS = b'image,label\n/data/a.jpg,3\n/data/b.jpg,-1\n'
SWEEP = b'total,accuracy,silhouette\n9,0.8,0.2\n7,0.9,0.1\n'
TABLE = b'image,identity,camera\na.jpg,1,0\nb.jpg,2,1\n'
LIST = b'0000/0000_000_01_0303morning_0015_0.jpg 0\n0001/0001_000_02_0303noon_0001_0.jpg 1\n'


def _listing(path):
    for name in ('a.jpg', 'b.jpg'):
        (path.parent / name).write_bytes(b'x')
    return listing([path])


READERS = {
    'labels': ('target_000.csv', LABELS, gather.read_labels),
    'sweep': ('niec_000.csv', SWEEP, gather.sweep),
    'ranked': (FILE, archive(vars(ranking())), lambda path: Ranking.load(path.parent)),
    'features': ('f.npz', archive(features()), Features.load),
    'listing': ('a.csv', TABLE, _listing),
    'history': (
        'metrics.jsonl',
        b'{"step": 1, "kind": "train", "phase": "source", "loss": 0.5}\n',
        gather.history,
    ),
    'msmt17': ('list_train.txt', LIST, lambda path: msmt17._read_list(path, path.parent, 'error')),
    'peta': ('Label.txt', b'0001 upperBodyLogo personalMale\n', peta._labels),
}


@pytest.mark.parametrize('kind', sorted(set(READERS) - {'msmt17'}))
def test_untouched_file_is_read(kind, tmp_path):
    name, raw, read = READERS[kind]
    (tmp_path / name).write_bytes(raw)
    assert read(tmp_path / name)


@pytest.mark.parametrize('kind', sorted(READERS))
@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mangled_file_gives_our_error_or_what_can_be_read(kind, tmp_path, data):
    name, raw, read = READERS[kind]
    (tmp_path / name).write_bytes(mangled(data, raw))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # numpy's, of odd tables
        try:
            content, message = read(tmp_path / name), name
        except ValueError as error:
            content, message = '', str(error)
    assert content is not None
    assert name in message


@pytest.mark.parametrize(
    'image', ['../../etc/passwd.jpg', 'a.jpg', '/data/../etc/shadow.jpg', '/data/a\x1b[2J.jpg', '']
)
def test_label_file_with_an_image_that_no_run_writes_is_refused(image, tmp_path):
    """A relative path is one where the run says what it is relative to."""
    table = tmp_path / 'target_000.csv'
    table.write_text(f'image,label\n/data/b.jpg,0\n"{image}",1\n')
    message = 'target_000.csv is no label file of a run: the image .* is no '
    with pytest.raises(ValueError, match=message):
        gather.read_labels(table)
    if image != 'a.jpg':
        with pytest.raises(ValueError, match=message):
            gather.read_labels(table, ['/data'])
    else:
        assert gather.read_labels(table, ['/data'])[1] == ('/data/a.jpg', 1)


def test_label_file_of_a_run_whose_data_folder_leads_upwards_is_read(tmp_path):
    """Only the folder that the config names, such as `../shared/data`, may lead upwards."""
    path = tmp_path / 'target_000.csv'
    path.write_text('image,label\n/srv/jreid/../shared/data/ward/1.jpg,0\n')
    assert gather.read_labels(path, ['/srv/shared/data']) == [
        ('/srv/jreid/../shared/data/ward/1.jpg', 0)
    ]
    path.write_text('image,label\n/srv/jreid/../shared/data/../../etc/1.jpg,0\n')
    with pytest.raises(ValueError, match='leads out of'):
        gather.read_labels(path, ['/srv/shared/data'])


@pytest.mark.parametrize('name', ['../../x.jpg', 'a/../../x.jpg', '/etc/x.jpg', 'a\x07.jpg', ''])
def test_list_with_an_image_outside_its_folder_is_refused_unless_a_root_is_named(name, tmp_path):
    (tmp_path / 'set').mkdir()
    table = tmp_path / 'set' / 'a.csv'
    table.write_text(f'image,identity\nb.jpg,1\n"{name}",2\n')
    with pytest.raises(
        ValueError,
        match=(
            r'a.csv, line 3: the image .* leads out of .*set or holds control characters;'
            r' expected a path below that folder; --root names another folder'
        ),
    ):
        listing([table])
    table.write_text('image\n../x.jpg\n')
    (tmp_path / 'x.jpg').write_bytes(b'x')
    assert listing([table], root=tmp_path).path.tolist() == [str(tmp_path / 'x.jpg')]


def test_list_is_read_by_a_path_with_a_detour(tmp_path, monkeypatch):
    (tmp_path / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'other')
    (tmp_path / 'a.csv').write_text('image\nx.jpg\n')
    (tmp_path / 'x.jpg').write_bytes(b'x')
    for root in (None, '..'):
        (path,) = listing(['../a.csv'], root=root).path
        assert pathlib.Path(path) == tmp_path / 'x.jpg'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'rows': np.asarray([[0, 3], [1, -1]])}, 'rows are -1 to 3 of 3'),
        ({'rows': np.zeros(2, np.int32)}, r'rows is int32 \(2,\)'),
        ({'correct': np.zeros((2, 2))}, r'correct is float64 \(2, 2\)'),
        ({'query_identity': np.zeros(3, int)}, r'query_identity is int64 \(3,\)'),
        ({'query_path': np.asarray(['q.jpg', '/q/1.jpg'])}, "'q.jpg' is no absolute path"),
        (
            {'gallery_path': np.asarray(['/g/0.jpg', '/g/\x1b.jpg', '/g/2.jpg'])},
            'holds control characters',
        ),
        ({'gallery_path': np.asarray(['../g.jpg', '/g/1.jpg', '/g/2.jpg'])}, 'leads out of'),
        (
            {'gallery_identity': np.asarray([{}, {}, {}], object)},
            'it holds no arrays of numbers and words',
        ),
    ],
)
def test_ranked_results_of_another_form_are_refused(changes, message, tmp_path):
    ranking(**changes).save(tmp_path)
    with pytest.raises(ValueError, match=rf'{FILE}: .*{message}.*expected the ranked results'):
        Ranking.load(tmp_path)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'path': np.asarray([{'a': 1}, {}], object)}, 'it holds no arrays of numbers and words'),
        ({'path': np.asarray(['g.jpg', '/g/1.jpg'])}, "'g.jpg' is no absolute path"),
        ({'features': np.zeros((3, 3), np.float32)}, r'features float32 \(3, 3\)'),
        ({'identity': np.zeros(2)}, r'identity float64 \(2,\)'),
    ],
)
def test_features_of_another_form_are_refused(changes, message, tmp_path):
    (tmp_path / 'f.npz').write_bytes(archive(features(**changes)))
    with pytest.raises(
        ValueError, match=rf'f.npz: .*{message}.*expected a file that jreid extract wrote'
    ):
        Features.load(tmp_path / 'f.npz')
    lacking = {name: array for name, array in features().items() if name != 'camera'}
    (tmp_path / 'f.npz').write_bytes(archive(lacking))
    with pytest.raises(ValueError, match='it lacks camera'):
        Features.load(tmp_path / 'f.npz')
    with pytest.raises(FileNotFoundError):
        Features.load(tmp_path / 'none.npz')


def test_written_features_are_read_again(tmp_path):
    made = features()
    Features(
        Listing(made['path'], made['identity'], made['camera']), made['features'], '/runs/demo'
    ).save(tmp_path / 'f.npz')
    read = Features.load(tmp_path / 'f.npz')
    assert read.run == '/runs/demo'
    for field in dataclasses.fields(Listing):
        expected = made[field.name.removesuffix('_name')]
        if field.name.endswith('_name'):
            expected = [str(number) for number in expected]
        np.testing.assert_array_equal(getattr(read.images, field.name), expected)


def test_images_of_immense_size_are_left_blank_in_a_report(tmp_path, monkeypatch):
    Image.new('L', (60, 60)).save(tmp_path / 'x.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)  # Pillow raises above twice as many
    assert thumbnails.encode([str(tmp_path / 'x.png')]) == ([''], [str(tmp_path / 'x.png')])
