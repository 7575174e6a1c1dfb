"""What a run's figures are given: rows, sweeps, ranked queries, features with their labels."""

import numpy as np
import pytest

from jreid.data import Index
from jreid.run import rankings, summary
from jreid.run.summary import draw

SWEEP = 'total,accuracy,silhouette,within,densest,chosen\n9,0.8,0.2,5,7,9\n11,0.9,0.4,5,7,9\n'
SHORT = 'total,silhouette,chosen\n9,0.2,9\n'


@pytest.fixture
def drawn(monkeypatch):
    """What each figure was drawn from, by the figure's file."""
    calls = {}

    def note(path, *of, **more):
        calls[path.name] = (of, more)

    for name in ('plot_cmc', 'plot_curves', 'plot_niec', 'plot_tsne', 'ranked_sheet'):
        monkeypatch.setattr(summary.figures, name, note)
    return calls


def split(name, identities):
    paths = np.asarray([f'/d/{name}{i}.jpg' for i in range(len(identities))])
    return Index(paths, np.asarray(identities), np.arange(len(identities)))


def call(workdir, **changes):
    query = np.asarray([[0.0], [5.0], [9.0]], np.float32)
    gallery = np.asarray([[0.1], [4.0], [9.5], [5.2]], np.float32)
    options = {
        'rows': {'adapted': {'cmc': [0.5, 1.0], 'mAP': 75.0}},
        'title': 'a to b',
        'query': (split('q', [1, 2, 3]), query),
        'gallery': (split('g', [1, 3, 9, 2]), gallery),
        'has_cameras': False,
        'domains': (None, np.zeros((2, 3))),
        'labels': (None, np.asarray([0, -1])),
        'queries': 2,
        'tsne_images': 50,
        'seed': 3,
        'source_identities': 12,
        'identities_true': 10,
        'average_precision': 'rank',
    }
    draw(workdir, **{**options, **changes})


def test_every_figure_gets_its_numbers(drawn, tmp_path):
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / 'niec_000.csv').write_text(SWEEP)
    (tmp_path / 'labels' / 'niec_001.csv').write_text(SHORT)
    call(tmp_path)
    names = ['cmc.png', 'curves.png', 'niec_000.png', 'niec_001.png', 'ranked.png', 'tsne.png']
    assert sorted(drawn) == names
    ((curves,), more) = drawn['cmc.png']
    ((title, (cmc, mean)),) = curves.items()
    assert (title, cmc.tolist(), mean, more) == (
        summary.TITLES['adapted'],
        [0.5, 1.0],
        0.75,
        {'title': 'a to b'},
    )
    (total, accuracy, silhouette), more = drawn['niec_000.png']
    assert (total.tolist(), accuracy.tolist()) == ([9, 11], [0.8, 0.9])
    assert silhouette.tolist() == [0.2, 0.4]
    expected = {'within': 5, 'densest': 7, 'chosen': 9, 'source_identities': 12, 'true': 10}
    assert more == {**expected, 'title': 'niec_000'}
    (total, accuracy, _), more = drawn['niec_001.png']
    assert (total.tolist(), accuracy) == ([9], None)
    assert (more['within'], more['densest'], more['chosen']) == (None, None, 9)
    (features, labels), more = drawn['tsne.png'][0], drawn['tsne.png'][1]
    assert (features, labels.shape) == (None, (2, 3))
    assert (more['count'], more['seed']) == (50, 3)
    assert more['points_file'] == tmp_path / 'figures' / 'tsne.csv'


def test_the_ranked_sheet_shows_the_nearest_with_right_and_wrong(drawn, tmp_path):
    call(tmp_path, queries=9)
    (queries, galleries, correct), more = drawn['ranked.png']
    rows = dict(zip(queries, zip(galleries, correct, strict=True), strict=True))
    assert set(rows) == {f'/d/q{i}.jpg' for i in range(3)}
    names, right = rows['/d/q1.jpg']
    assert names == [f'/d/g{i}.jpg' for i in (3, 1, 2, 0)]
    assert right == [True, False, False, False]
    assert rows['/d/q2.jpg'][1] == [False, False, True, False]
    assert more == {'title': 'a to b'}
    kept = rankings.Ranking.load(tmp_path)
    assert kept.query_path.tolist() == [f'/d/q{i}.jpg' for i in range(3)]


def test_a_run_that_measured_nothing_has_curves_and_features_alone(drawn, tmp_path):
    call(tmp_path, rows={}, query=None, gallery=None)
    assert sorted(drawn) == ['curves.png', 'tsne.png']
    assert not (tmp_path / rankings.FILE).exists()
