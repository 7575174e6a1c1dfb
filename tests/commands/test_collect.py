"""`jreid collect`: mean and deviation over splits or seeds."""

import json

import numpy as np
import pytest

from jreid.commands import collect

RANK1 = (30.0, 36.0, 33.0)


@pytest.fixture
def runs(tmp_path):
    """Three splits of one run: (folders, function that rewrites a config)."""

    def configure(k, **changes):
        data = {
            'root': f'/data/{k}',
            'target': 'viper',
            'target_options': {'split': k},
            **changes.pop('data', {}),
        }
        (tmp_path / f'run{k}' / 'config.json').write_text(
            json.dumps({'seed': 0, 'variant': 'tjaidl', 'data': data, **changes})
        )

    for k, rank1 in enumerate(RANK1):
        (tmp_path / f'run{k}').mkdir()
        extra = {
            'single_shot': {
                'rank1': rank1 - 10,
                'rank5': 40.0,
                'rank10': 50.0,
                'rank20': 60.0,
                'repeats': None,
            },
            'attributes': {
                'target': {
                    'images': 9,
                    'accuracy': rank1 + 40,
                    'balanced_accuracy': 55.0,
                    'f1': 20.0,
                    'each': {},
                }
            },
        }
        row = {
            'mAP': rank1 + 5,
            'rank1': rank1,
            'rank5': 50.0,
            'rank10': 60.0,
            'rank20': 70.0,
            'mINP': 20.0,
            'cmc': [0.1],
            **extra,
        }
        summary = {
            'variant': 'tjaidl',
            'source': 'market1501',
            'target': 'viper',
            'average_precision': 'rank',
            'adapted': row,
            'timing': {'seconds': k},
        }
        if k == 0:
            summary['source_only'] = row
        (tmp_path / f'run{k}' / 'summary.json').write_text(json.dumps(summary))
        configure(k)
    return [tmp_path / f'run{k}' for k in range(3)], configure


def test_mean_and_deviation(runs):
    statistics = collect.collect(runs[0])
    assert statistics['runs'] == 3
    assert statistics['differ'] == {'data.target_options.split': [0, 1, 2]}
    # not all runs have the other row
    assert list(statistics['rows']) == [
        'adapted',
        'adapted, single shot',
        'adapted, attributes on the target',
    ]
    assert statistics['rows']['adapted, single shot']['rank1']['mean'] == 23
    accuracy = statistics['rows']['adapted, attributes on the target']['accuracy']
    assert accuracy['values'] == [70, 76, 73]
    rank1 = statistics['rows']['adapted']['rank1']
    assert rank1['values'] == list(RANK1)
    assert rank1['mean'] == pytest.approx(np.mean(RANK1))
    assert rank1['std'] == pytest.approx(np.std(RANK1, ddof=1))
    assert statistics['rows']['adapted']['rank5']['std'] == 0
    assert collect.collect(runs[0][:1])['rows']['adapted']['mAP']['std'] is None


def test_command(runs, tmp_path, capsys):
    assert collect.main([*map(str, runs[0]), '--json', str(tmp_path / 'all.json')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert '3 runs (data.target_options.split)' in lines[0]
    assert lines[2].split() == [
        'adapted',
        '38.0',
        '(3.0)',
        '33.0',
        '(3.0)',
        '50.0',
        '(0.0)',
        '60.0',
        '(0.0)',
        '70.0',
        '(0.0)',
        '20.0',
        '(0.0)',
    ]
    assert lines[4].split() == [
        'adapted,',
        'single',
        'shot',
        '23.0',
        '(3.0)',
        '40.0',
        '(0.0)',
        '50.0',
        '(0.0)',
        '60.0',
        '(0.0)',
    ]
    assert lines[6].split() == [
        'adapted,',
        'attributes',
        'on',
        'the',
        'target',
        '73.0',
        '(3.0)',
        '55.0',
        '(0.0)',
        '20.0',
        '(0.0)',
    ]
    assert (
        json.loads((tmp_path / 'all.json').read_text())['rows']['adapted']['rank1']['mean'] == 33.0
    )
    assert collect.main([str(tmp_path)]) == 1
    assert 'holds no finished run' in capsys.readouterr().err


def test_runs_that_are_no_repetitions(runs):
    folders, configure = runs
    configure(1, method={'learning_rate': 0.1})
    with pytest.raises(ValueError, match=r'differ in method\.learning_rate'):
        collect.collect(folders)
    configure(1, data={'target_options': {'split': 0}})
    with pytest.raises(ValueError, match='the same seed and split'):
        collect.collect(folders)
    with pytest.raises(ValueError, match='no run'):
        collect.collect([])
