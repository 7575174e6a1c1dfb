"""`jreid rank --threshold`: where a threshold comes from, and what is said of every image."""

import csv
import json

import numpy as np
import pytest

from jreid.commands import cli, evaluate
from jreid.commands.extract import Features, Listing
from jreid.commands.threshold import threshold

VERIFICATION = {
    'compares': 'features',
    'tpr': {'0.1': 90.0, '0.01': 80.0, '0.001': 70.0},
    'thresholds': {'0.1': 1.5, '0.01': 1.0, '0.001': 0.5},
    'eer': 10.0,
    'eer_threshold': 1.6,
}


def summary(folder, **rows):
    content = {'source': 'plaza', 'target': 'campus', **rows}
    (folder / 'summary.json').write_text(json.dumps(content))
    return str(folder)


def row(**changes):
    return {'mAP': 1.0, 'verification': {**VERIFICATION, **changes}}


def test_number_is_taken_as_it_is():
    assert threshold('0.75', '').distance == 0.75
    assert 'as given' in str(threshold('0.75', ''))


def test_auto_reads_the_last_row_of_the_final_model(tmp_path):
    other = row(thresholds={'0.001': 9.0})
    rows = {'source_only': other, 'adapted': row(), 'adabn': other, 'adapted_reranked': {}}
    run = summary(tmp_path, **rows, later={**other, 'kind': 'adabn'})
    chosen = threshold('auto', run)
    assert chosen.distance == 0.5
    assert 'FPR 0.001, TPR 70.0 % on the target' in chosen.source
    assert 'campus' in chosen.source
    assert str(tmp_path / 'summary.json') in chosen.source


def test_auto_takes_the_lowest_rate_that_the_pairs_can_show(tmp_path):
    few = {'0.1': 1.5, '0.01': 1.0, '0.001': None}
    assert threshold('auto', summary(tmp_path, adapted=row(thresholds=few))).distance == 1.0
    none = dict.fromkeys(few)
    chosen = threshold('auto', summary(tmp_path, adapted=row(thresholds=none)))
    assert chosen.distance == 1.6
    assert 'equal error rate 10.0 %' in chosen.source


def test_auto_names_the_source_where_the_target_has_no_labels(tmp_path):
    run = summary(tmp_path, adapted={**row(), 'split': 'source'})
    assert "on the source's test split, plaza" in threshold('auto', run).source
    assert 'as the target has no labels' in threshold('auto', run).source


@pytest.mark.parametrize(
    ('value', 'changes', 'message'),
    [
        ('far', {}, "--threshold is 'far'; expected auto or a distance"),
        ('-1', {}, "--threshold is '-1'"),
        ('nan', {}, "--threshold is 'nan'"),
        ('auto', {'compares': 'pairs'}, 'compares pairs of images'),
        ('auto', {'thresholds': {}, 'eer_threshold': None}, 'has no finite threshold'),
    ],
)
def test_wrong_thresholds_are_answered(value, changes, message, tmp_path):
    run = summary(tmp_path, adapted=row(**changes))
    with pytest.raises(ValueError, match=message):
        threshold(value, run)


def test_auto_without_a_run_is_answered():
    with pytest.raises(ValueError, match='another program made these'):
        threshold('auto', '')


def features(path, values, run, identity=-1):
    count = len(values)
    labels = np.full(count, identity, np.int32), np.zeros(count, np.int32)
    names = np.asarray([f'/images/{path.stem}{i}.jpg' for i in range(count)])
    Features(Listing(names, *labels), np.asarray(values, np.float32)[:, None], run).save(path)
    return str(path)


def test_rank_says_same_or_unknown(tmp_path, capsys):
    run = summary(tmp_path, adapted=row())
    gallery = features(tmp_path / 'g.npz', [0, 0.4, 3], run)
    query = features(tmp_path / 'q.npz', [0.1, 9], run)
    words = ['rank', gallery, query, '--top=2', '--threshold=auto', f'--csv={tmp_path / "t.csv"}']
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert '1 of 2 queries have one, the others are unknown' in out
    assert 'same person: distance <= 0.5000 (FPR 0.001' in out
    with open(tmp_path / 't.csv', newline='') as file:
        assert [line['person'] for line in csv.DictReader(file)] == ['same'] * 2 + ['unknown'] * 2
    assert cli.main([*words[:4], '--threshold=0.2']) == 0
    assert capsys.readouterr().out.count('  same ') == 1


def test_a_run_that_kept_no_threshold_is_measured(source_only_run, tmp_path):
    run = tmp_path / 'run'
    run.symlink_to(source_only_run)
    kept = threshold('auto', str(run))
    assert kept.distance > 0
    copy = tmp_path / 'copy'
    copy.mkdir()
    for path in source_only_run.iterdir():
        if path.name != 'summary.json':
            (copy / path.name).symlink_to(path)
    measured = threshold('auto', str(copy))
    assert measured.distance == kept.distance
    assert 'measured now' in measured.source


def evaluated(monkeypatch, **by_role):
    """Lets the evaluation of a run give a result, or raise an error, for each role."""

    def evaluate_run(run, *, role):
        if isinstance(by_role[role], ValueError):
            raise by_role[role]
        return {'target': f'{role} set', 'evaluated': by_role[role]}

    monkeypatch.setattr(evaluate, 'evaluate_run', evaluate_run)


def test_the_source_is_measured_where_the_target_has_no_labels(tmp_path, monkeypatch):
    (tmp_path / 'summary.json').write_text('{"evaluated_on": ""}')
    nothing = ValueError('campus has no query')
    evaluated(monkeypatch, target=nothing, source={'verification': VERIFICATION})
    found = threshold('auto', str(tmp_path))
    assert found.distance == 0.5
    assert "on the source's test split, source set, as the target has no labels" in found.source
    assert f'the model of {tmp_path}, measured now' in found.source


def test_a_run_that_cannot_tell_a_threshold_says_why(tmp_path, monkeypatch):
    evaluated(monkeypatch, target=ValueError('campus has no query'), source={'mAP': 1.0})
    with pytest.raises(ValueError, match='cannot tell a threshold; on the target: campus') as error:
        threshold('auto', str(tmp_path))
    assert 'on the source: its test split has no pairs of different people. Give' in str(
        error.value
    )


def test_rank_with_nothing_left_writes_an_empty_table(tmp_path, capsys):
    alone = features(tmp_path / 'g.npz', [0, 1], '', identity=4)
    words = ['rank', alone, alone, '--other-cameras', f'--csv={tmp_path / "t.csv"}']
    assert cli.main(words) == 0
    assert 'no gallery image is left for any query' in capsys.readouterr().out
    assert (tmp_path / 't.csv').read_text() == 'query,rank,distance,image,identity,camera\n'
