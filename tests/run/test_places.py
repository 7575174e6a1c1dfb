"""A run names its images relative to the data, so that it can be moved and shared."""

import json
import os
import shutil

import numpy as np
import pytest

from jreid.report import gather
from jreid.run import places
from jreid.run.provenance import command, provenance
from jreid.run.rankings import Ranking

DATA = {
    'root': 'data',
    'source': 'market1501',
    'target': 'folder',
    'source_root': '',
    'target_root': '/mine/index.csv',
}


def test_roots_are_absolute_and_those_of_the_loaders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.roots(DATA) == {'source': str(tmp_path / 'data'), 'target': '/mine'}
    monkeypatch.setenv('JREID_CACHE', str(tmp_path / 'cache'))
    generated = {**DATA, 'source': 'synthetic', 'target_root': '../up'}
    assert places.roots(generated) == {
        'source': str(tmp_path / 'cache'),
        'target': str(tmp_path.parent / 'up'),
    }


def test_paths_are_shortened_together_and_come_back():
    bases = ['/a', '/data']
    paths = ['/data/q/1.jpg', '/data/x/../g/2.jpg']
    short = places.shorten(paths, bases)
    assert short == ['q/1.jpg', 'g/2.jpg']
    assert places.lengthen(short, ['/data']) == ['/data/q/1.jpg', '/data/g/2.jpg']
    assert places.shorten(['/data/1.jpg', '/other/2.jpg'], bases) == ['/data/1.jpg', '/other/2.jpg']
    assert places.shorten(['/database/1.jpg'], ['/data']) == ['/database/1.jpg']


def test_the_folder_that_has_the_images_is_taken(tmp_path):
    (tmp_path / 'now').mkdir()
    (tmp_path / 'now' / '1.jpg').touch()
    bases = [str(tmp_path / 'before'), str(tmp_path / 'now')]
    assert places.lengthen(['1.jpg'], bases) == [str(tmp_path / 'now' / '1.jpg')]
    assert places.lengthen(['none.jpg'], bases) == [str(tmp_path / 'before' / 'none.jpg')]
    with pytest.raises(ValueError, match='no config.json beside it'):
        places.lengthen(['1.jpg'], [])


@pytest.fixture
def run(tmp_path):
    """A run beside its data, both in one folder, with a ranking and labels."""
    run, data = tmp_path / 'old' / 'run', tmp_path / 'old' / 'data'
    (run / 'labels').mkdir(parents=True)
    data.mkdir()
    paths = [data / f'{name}.jpg' for name in 'qg']
    for path in paths:
        path.touch()
    settings = {**DATA, 'target_root': str(data)}
    (run / 'config.json').write_text(json.dumps({'data': settings}))
    one = np.zeros(1, np.int32)
    Ranking(
        query_path=np.asarray([str(paths[0])]),
        query_identity=one,
        query_camera=one,
        gallery_path=np.asarray([str(paths[1])]),
        gallery_identity=one,
        gallery_camera=one,
        rows=np.zeros((1, 1), np.int32),
        distances=np.zeros((1, 1), np.float32),
        correct=np.ones((1, 1), bool),
        average_precision=np.ones(1, np.float32),
    ).save(run)
    (run / 'labels' / 'target_000.csv').write_text('image,label\ng.jpg,0\n')
    return run


def test_a_moved_run_finds_its_images(run, tmp_path):
    with np.load(run / 'ranked.npz') as kept:
        assert kept['query_path'].tolist() == ['q.jpg']
        assert kept['gallery_path'].tolist() == ['g.jpg']
    assert Ranking.load(run).query_path.tolist() == [str(tmp_path / 'old' / 'data' / 'q.jpg')]
    shutil.move(tmp_path / 'old', tmp_path / 'new')
    data, moved = str(tmp_path / 'new' / 'data'), tmp_path / 'new' / 'run'
    assert Ranking.load(moved, root=data).gallery_path.tolist() == [os.path.join(data, 'g.jpg')]
    bases = places.of_run(moved, root=data)
    labels = gather.read_labels(moved / 'labels' / 'target_000.csv', bases)
    assert labels == [(os.path.join(data, 'g.jpg'), 0)]
    # The folder that the run was trained with is known from its summary, too.
    (moved / 'config.json').unlink()
    (moved / 'summary.json').write_text(json.dumps({'roots': {'target': data}}))
    assert Ranking.load(moved).query_path.tolist() == [os.path.join(data, 'q.jpg')]


def test_files_that_say_nothing_are_passed_over(tmp_path):
    assert places.of_run(tmp_path) == []
    for content in ('{', '[]', '{"data": 3}', '{"roots": 1}'):
        for name in ('config.json', 'summary.json'):
            (tmp_path / name).write_text(content)
        assert places.of_run(tmp_path, root='/here') == ['/here']


def test_a_run_says_when_and_from_what_it_came():
    found = provenance()
    assert {'date', 'version', 'command'} <= set(found)
    assert found['date'].endswith('+00:00')
    if 'commit' in found:
        assert len(found['commit'].removesuffix('+changes')) == 40
    words = ['--config=demo', '--workdir=my run']
    said = command(['/usr/bin/python3', '/venv/bin/jreid', 'train', *words])
    assert said == "jreid train --config=demo '--workdir=my run'"
    assert command(['/usr/bin/python3', '-m', 'jreid.main', words[0]]) == (
        'python3 -m jreid.main --config=demo'
    )
