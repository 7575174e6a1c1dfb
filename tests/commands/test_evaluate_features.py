"""`jreid evaluate` on files of features."""

import json

import numpy as np
import pytest

from jreid.commands import cli
from jreid.commands.evaluate_features import evaluate_files
from jreid.retrieval import evaluate, unit

RNG = np.random.default_rng(0)
WHO = np.repeat(np.arange(6), 4)
X = (RNG.normal(size=(6, 8))[WHO] + 0.9 * RNG.normal(size=(24, 8))).astype(np.float32)
CAMERA = np.tile(np.arange(4), 6)
Q = CAMERA == 0


def write(folder, name, rows, *, features=X, **labels):
    np.savez(folder / name, features=features[rows], **{k: v[rows] for k, v in labels.items()})
    return str(folder / name)


@pytest.fixture
def files(tmp_path):
    """Writes both files: (gallery, query)."""

    def make(**labels):
        both = {'features': X, 'pids': WHO, 'camids': CAMERA} | labels
        both = {name: value for name, value in both.items() if value is not None}
        return write(tmp_path, 'g.npz', ~Q, **both), write(tmp_path, 'q.npz', Q, **both)

    return make


@pytest.mark.parametrize('dtype', [np.float16, np.float64, np.int8])
@pytest.mark.parametrize('normalise', [False, True])
def test_numbers_are_those_of_the_library(files, tmp_path, dtype, normalise, capsys):
    features = (40 * X).clip(-127, 127).astype(dtype)
    gallery, query = files(features=features)
    words = ['evaluate', gallery, query, '--json', str(tmp_path / 'r.json')]
    assert cli.main([*words, '--rerank', *['--normalise'] * normalise]) == 0
    own = features.astype(np.float32)
    own = unit(own) if normalise else own
    expected = evaluate(own[Q], own[~Q], WHO[Q], WHO[~Q], CAMERA[Q], CAMERA[~Q])
    result = json.loads((tmp_path / 'r.json').read_text())
    assert result['evaluated']['mAP'] == pytest.approx(100 * expected.mAP, abs=1e-3)
    assert expected.mAP < 0.999
    assert result['evaluated']['verification']['same'] == 6 * 3
    assert result['evaluated_reranked']['queries'] == 6
    assert result['camera_rule']
    shown = capsys.readouterr().out
    assert f'{result["evaluated"]["mAP"]:.1f}' in shown
    assert 'same person or not' in shown


def test_words_are_matched_over_files(tmp_path):
    """A word is numbered otherwise in each file, and so is a number that int32 does not hold."""
    dates = (20_251_127_000 + WHO)[None].T
    words = np.asarray(['zoe', 'amy', 'bob', 'cid', 'dan', 'eve'])[WHO]
    numbers = write(tmp_path, 'n.npz', Q, pids=WHO), write(tmp_path, 'm.npz', ~Q, pids=WHO)
    expected = evaluate_files(*numbers)['evaluated']
    for labels in (words, words.astype('S'), dates, WHO.astype(str)):
        few = Q & (WHO > 1)  # queries of four of the six: every number differs
        query = write(tmp_path, 'q.npz', few, ids=labels)
        gallery = write(tmp_path, 'g.npz', ~Q, ids=labels)
        found = evaluate_files(query, gallery)['evaluated']
        plain = write(tmp_path, 'p.npz', few, ids=WHO)
        assert found == evaluate_files(plain, numbers[1])['evaluated']
        assert found['queries'] == 4
    assert expected['queries'] == 6


def test_marks_and_cameras_of_words_in_two_files(tmp_path, capsys):
    names = np.asarray(['b', 'c'])
    np.savez(tmp_path / 'q.npz', features=np.eye(2), ids=names, cams=np.asarray(['east', 'west']))
    np.savez(
        tmp_path / 'g.npz',
        features=np.eye(2)[[0, 1, 0]],
        ids=np.asarray(['b', 'c', 'a']),
        cams=np.asarray(['west', 'west', 'north']),
    )
    words = ['rank', str(tmp_path / 'g.npz'), str(tmp_path / 'q.npz'), '--other-cameras']
    assert cli.main([*words, '--csv', str(tmp_path / 't.csv')]) == 0
    ranked = (tmp_path / 't.csv').read_text().splitlines()[1:]
    # c of camera west is left out for the query c of camera west alone.
    assert [line.rsplit(',', 2)[1:] for line in ranked] == [
        ['b', 'west'],
        ['a', 'north'],
        ['c', 'west'],
        ['b', 'west'],
        ['a', 'north'],
    ]


def test_junk_is_left_out_and_said(files, capsys):
    junk = np.where(np.arange(24) % 8 == 1, -1, WHO)
    gallery, query = files(pids=junk)
    assert cli.main(['evaluate', gallery, query]) == 0
    assert '3 gallery images have no identity and are left out' in capsys.readouterr().out
    gallery, query = files(camids=None)
    assert cli.main(['evaluate', gallery, query]) == 0
    assert 'no cameras are known' in capsys.readouterr().out


def test_one_file_against_itself(files, capsys):
    gallery, _ = files()
    assert evaluate_files(gallery, gallery)['evaluated']['queries'] == 18
    gallery, _ = files(camids=None)
    assert cli.main(['evaluate', gallery, gallery]) == 1
    assert 'every query would find itself' in capsys.readouterr().err


def test_wrong_words_and_files_are_answered(files, tmp_path, capsys):
    gallery, query = files()

    def refused(*words):
        assert cli.main(['evaluate', *words]) == 1
        return capsys.readouterr().err

    assert 'expected the file of the queries after it' in refused(gallery)
    assert '--config.seed=1 go with a run' in refused(gallery, query, '--config.seed=1')
    assert 'nowhere is no features file' in refused('nowhere', query)
    assert 'nosuch.npz' in refused(gallery, str(tmp_path / 'nosuch.npz'))
    np.save(tmp_path / 'plain.npy', X)
    assert '24 of 24 images have no identity' in refused(gallery, str(tmp_path / 'plain.npy'))
    narrow = write(tmp_path, 'narrow.npz', Q, features=X[:, :3], ids=WHO)
    assert 'has 3 numbers per image' in refused(gallery, narrow)
    without = write(tmp_path, 'without.npz', Q, ids=WHO)
    assert 'without.npz lack cameras' in refused(gallery, without)
    below = write(tmp_path, 'below.npz', Q, ids=WHO - 3)
    assert 'identities hold -3' in refused(gallery, below)
    some = write(tmp_path, 'some.npz', Q, ids=WHO - 1)
    assert '1 of 6 images have no identity' in refused(gallery, some)
    paths = np.asarray(['a\x1b[2J'] * 24)
    assert 'control characters' in refused(gallery, write(tmp_path, 'p.npz', Q, path=paths))


def test_one_image_with_labels(tmp_path):
    one = write(tmp_path, 'one.npz', np.arange(1), ids=WHO, cams=CAMERA)
    gallery = write(tmp_path, 'g.npz', ~Q, ids=WHO, cams=CAMERA)
    assert evaluate_files(one, gallery)['evaluated']['queries'] == 1
