"""`jreid evaluate` on a finished run: its own numbers, another set, another config."""

import json
import shutil

import numpy as np
import pytest

from jreid.commands import cli, evaluate
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
