"""`jreid evaluate` on a finished run: its own numbers, another set, another config."""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from jreid.commands import cli, evaluate
from jreid.configs import base
from jreid.data import Index
from jreid.report import command
from jreid.report.command import report
from jreid.run import rankings


def test_evaluate_gives_the_numbers_of_the_run(source_only_run, people, tmp_path, capsys):
    assert (
        cli.main(
            ['evaluate', str(source_only_run), '--json', str(tmp_path / 'again.json'), '--rerank']
        )
        == 0
    )
    again, kept = (
        json.loads((tmp_path / 'again.json').read_text()),
        json.loads((source_only_run / 'summary.json').read_text()),
    )
    assert again['evaluated'] == kept['source_only']
    assert kept['source_only']['mAP'] < 99
    assert again['evaluated_reranked']['queries'] == kept['source_only']['queries']
    assert 'rank1' in capsys.readouterr().out
    # Another set, without the options of the target before it: one query, eight gallery images.
    lines = ['image,identity,camera,split']
    for folder, split, count in (
        ('query', 'query', 1),
        ('bounding_box_test', 'gallery', 8),
        ('bounding_box_train', 'train', 4),
    ):
        for path in sorted((people / 'one' / folder).glob('*.jpg'))[:count]:
            (tmp_path / f'{split}-{path.name}').write_bytes(path.read_bytes())
            lines.append(f'{split}-{path.name},{path.name[:4]},{path.name[6]},{split}')
    (tmp_path / 'index.csv').write_text('\n'.join(lines) + '\n')
    other = ['--config.data.target=folder', f'--config.data.target_root={tmp_path}']
    assert (
        cli.main(['evaluate', str(source_only_run), *other, '--json', str(tmp_path / 'other.json')])
        == 0
    )
    result = json.loads((tmp_path / 'other.json').read_text())
    assert (result['target'], result['evaluated']['queries']) == ('folder', 1)
    capsys.readouterr()
    assert cli.main(['evaluate', str(source_only_run), '--config.data.target_rot=x']) == 1
    assert 'target_rot' in capsys.readouterr().err


def test_ranking_of_a_run_that_kept_none_agrees_with_its_evaluation(source_only_run, tmp_path):
    run = shutil.copytree(source_only_run, tmp_path / 'run')
    assert not (run / rankings.FILE).exists()
    made = evaluate.ranking_of_run(run)
    kept = json.loads((run / 'summary.json').read_text())['source_only']
    assert 100 * np.nanmean(made.average_precision) == pytest.approx(kept['mAP'], abs=1e-3)
    assert 100 * made.correct[:, 0].mean() == pytest.approx(kept['rank1'], abs=1e-3)
    page = report([run], tmp_path / 'page.html').read_text()
    assert '"ap":' in page
    again = rankings.Ranking.load(run)
    np.testing.assert_array_equal(again.rows, made.rows)
    np.testing.assert_array_equal(again.gallery_path, made.gallery_path)


@pytest.fixture
def loaded(monkeypatch):
    """`loaded(retrieves=..., score=...)`: the model of any run, and its test split."""

    def make(**method):
        config = base.get_config()
        config.data.source = 'plaza'
        asked = []
        evaluator = SimpleNamespace(
            batch=4,
            mesh=None,
            pair_distances=lambda *of: asked.append(of) or np.float32([[0.3, 0.1], [0.2, 0.9]]),
        )
        model = SimpleNamespace(
            config=config,
            method=SimpleNamespace(name='teacher', normalise=False, **method),
            system=SimpleNamespace(functions=None, evaluator=evaluator),
            problem=SimpleNamespace(attribute_names=('hat',)),
            params='params',
            state='state',
            domain='target',
        )
        query, gallery = (
            SimpleNamespace(index=Index(np.asarray([f'/{n}0', f'/{n}1']), [1, 2], [0, 1]))
            for n in 'qg'
        )
        splits = SimpleNamespace(name='campus', has_cameras=False)
        test = SimpleNamespace(
            splits=splits, query=query, gallery=gallery, statistics=lambda domain: f'own {domain}'
        )
        monkeypatch.setattr(evaluate, 'load_model', lambda run, **more: model)
        monkeypatch.setattr(evaluate, 'open_test', lambda data, role: (splits, query, gallery))
        monkeypatch.setattr(evaluate, 'open_measured', lambda data: test)
        return SimpleNamespace(model=model, asked=asked, query=query, gallery=gallery)

    return make


def test_a_teacher_is_scored_on_what_the_set_is_labelled_with(loaded, monkeypatch):
    loaded(retrieves=False)
    scores = {'attributes': {'target': {'accuracy': 90.0}}}
    monkeypatch.setattr(evaluate.predictions, 'rows', lambda *of, **more: scores)
    expected = {'source': 'plaza', 'target': 'campus', 'evaluated': scores}
    assert evaluate.evaluate_run('run') == expected
    monkeypatch.setattr(evaluate.predictions, 'rows', lambda *of, **more: {})
    with pytest.raises(ValueError, match="'teacher' is a teacher, and the test split of campus is"):
        evaluate.evaluate_run('run')
    assert evaluate.ranking_of_run('run') is None


def test_pairs_are_ranked_by_their_distances(loaded, monkeypatch):
    """With the statistics of the split's domain."""
    run = loaded(retrieves=True, score='pairs')
    ranking = evaluate.ranking_of_run('run')
    assert run.asked == [('params', 'state', 'own target', run.query, run.gallery)]
    assert ranking.rows.tolist() == [[1, 0], [0, 1]]
    assert ranking.gallery_path.tolist() == ['/g0', '/g1']
    assert ranking.correct.tolist() == [[False, True], [False, True]]
    monkeypatch.setattr(evaluate, 'open_measured', lambda data: None)
    assert evaluate.ranking_of_run('run') is None


def test_a_page_says_why_it_has_no_ranked_results(tmp_path, monkeypatch, caplog):
    def missing(folder):
        raise FileNotFoundError('no images there')

    monkeypatch.setattr(evaluate, 'ranking_of_run', missing)
    (tmp_path / 'config.json').write_text('{}')
    with caplog.at_level(logging.INFO, 'jreid'):
        assert command._ranking(tmp_path) is None
    assert f'{tmp_path}: no ranked results: no images there' in caplog.text
    with pytest.raises(ValueError, match='no run to report on; give the folders'):
        report([], tmp_path / 'page.html')
