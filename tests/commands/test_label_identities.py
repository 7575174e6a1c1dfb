"""`jreid label RUN IMAGES --identities --out=DIR`."""

import csv

import numpy as np
import pytest
from PIL import Image

from jreid.commands import cli, identities
from jreid.commands.extract import Features, Listing


@pytest.fixture
def label(source_only_run, people, tmp_path):
    """`label(*words)` -> exit status, of images of six people by two cameras."""

    def run(*words, images=(people / 'two' / 'bounding_box_test',)):
        with pytest.raises(SystemExit) as end:
            cli.main(
                [
                    *('label', str(source_only_run), *map(str, images)),
                    *('--identities', f'--out={tmp_path / "people"}', *words),
                ]
            )
        return end.value.code

    return run


def test_images_are_grouped_into_people(label, people, tmp_path, capsys):
    assert label('--people=6') == 0
    out = tmp_path / 'people'
    with open(out / 'identities.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == sorted(
        path.name for path in (people / 'two' / 'bounding_box_test').iterdir()
    )
    assert {row['identity'] for row in rows} == set('012345')
    assert all(float(row['distance']) >= 0 for row in rows)
    sheets = sorted(path.name for path in (out / 'people').iterdir())
    assert sheets == [f'{person:04d}.png' for person in range(6)]
    with Image.open(out / 'people' / '0000.png') as sheet:
        assert sheet.size[0] > 64
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('.')]
    said = capsys.readouterr().out
    assert '6 people in 48 images, 0 like no others; paths are relative to' in said


def test_number_of_people_is_estimated(label, tmp_path, capsys):
    assert label() == 0
    count = int(capsys.readouterr().out.split(': ')[1].split()[0])
    assert 1 <= count <= 24
    assert len(list((tmp_path / 'people' / 'people').glob('0*.png'))) == count


def test_wrong_words_write_nothing(label, tmp_path, capsys):
    assert label('--people=99') == 1
    assert '99 people in 48 images' in capsys.readouterr().err
    assert label(images=[tmp_path / 'nothing']) == 1
    assert 'nothing' in capsys.readouterr().err
    assert not (tmp_path / 'people').exists()
    (tmp_path / 'people').mkdir()
    (tmp_path / 'people' / 'mine.txt').touch()
    assert label('--people=6') == 1
    assert 'exists and is not empty' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'people').iterdir()] == ['mine.txt']
    with pytest.raises(SystemExit) as end:
        cli.main(['label', 'run', '--identities', '--out=x'])
    assert end.value.code == 2


def test_images_that_are_like_no_others_have_a_sheet_of_their_own(tmp_path, monkeypatch):
    paths = []
    for name in 'abcde':
        Image.new('RGB', (8, 16), 'red').save(tmp_path / f'{name}.png')
        paths.append(str(tmp_path / f'{name}.png'))
    unknown = np.full(5, -1, np.int32)
    features = Features(
        Listing(np.asarray(paths), unknown, unknown), np.eye(5, dtype=np.float32), 'run'
    )
    monkeypatch.setattr(identities, 'group_people', lambda *_, count: np.array([0, -1, 0, 0, -1]))
    found = identities.people_of(features)
    assert found.count == 1
    assert np.isinf(found.distances[[1, 4]]).all()
    out = identities.write(found, tmp_path / 'out')
    assert sorted(path.name for path in (out / 'people').iterdir()) == ['0000.png', 'nobody.png']
    lines = (out / 'identities.csv').read_text().splitlines()
    assert lines[2] == 'b.png,,,'
    assert lines[1].startswith('a.png,0,,')


def test_cameras_keep_their_names_and_paths_start_at_the_folder_named(tmp_path, monkeypatch):
    place = tmp_path / 'crops' / 'hall'
    place.mkdir(parents=True)
    for name in 'ab':
        Image.new('RGB', (8, 16), 'red').save(place / f'{name}.png')
    paths = np.asarray([str(place / 'a.png'), str(place / 'b.png')])
    images = Listing(
        paths, np.full(2, -1), np.asarray([1, 0]), camera_name=np.asarray(['hall', 'door'])
    )
    features = Features(images, np.eye(2, dtype=np.float32), 'run')
    monkeypatch.setattr(identities, 'group_people', lambda *_, count: np.array([0, 0]))
    found = identities.people_of(features, root=tmp_path / 'crops')
    lines = (identities.write(found, tmp_path / 'out') / 'identities.csv').read_text().splitlines()
    assert [line.rsplit(',', 1)[0] for line in lines[1:]] == [
        'hall/a.png,0,hall',
        'hall/b.png,0,door',
    ]
