"""A target without any label: it is trained on, grouped into people, and not evaluated."""

import csv
import dataclasses
import json
import logging

import numpy as np
import pytest
from test_no_leak import SHORT
from toy import toy

from jreid.commands.extract import Features
from jreid.methods.contract import Refreshed
from jreid.training import loop
from jreid.training.data import open_data


def unlabelled(config, people):
    """The config with a flat folder of images as target, whose names say the cameras alone."""
    config.data.target, config.data.target_options = 'folder', {}
    config.data.target_root = str(people / 'two' / 'bounding_box_train')
    return config


def read_labels(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def source_alone(method):
    """The toy's first phase: it makes no pseudo labels."""
    method = toy(method)
    return dataclasses.replace(method, phases=method.phases[:1], refresh=None)


def soft_labels_alone(method):
    """The toy with a refresh that puts no image into a cluster and counts nobody, as TJ-AIDL's."""
    method = toy(method)

    def refresh(params, state, source, target, context):
        labels = np.full((len(target['feature']), 2), -1, np.int32)
        return Refreshed(labels, params, state, report={'entropy': 1.0}, useless=True)

    return dataclasses.replace(method, refresh=refresh)


def assert_whole_run(workdir, summary):
    """Asserts what every run without target labels leaves; returns its target's features."""
    assert summary['evaluated_on'] == 'source'
    assert summary['identities_true'] is None
    assert 'adabn' not in summary
    rows = [row for row in summary.values() if isinstance(row, dict) and 'mAP' in row]
    assert rows
    assert all(row['split'] == 'source' for row in rows)
    assert summary['identities_estimated'] >= 1
    text = (workdir / 'summary.txt').read_text()
    assert 'measured on the test split of the source' in text
    assert 'true number unknown' in text
    features = Features.load(workdir / 'features.npz')
    assert len(features.images) == 96
    assert np.isfinite(features.features).all()
    found = read_labels(max((workdir / 'labels').glob('target_*.csv')))
    assert [int(row['label']) for row in found] == features.images.identity.tolist()
    return features


def test_toy_on_an_unlabelled_folder(tiny_config, people, tmp_path, caplog):
    config = unlabelled(tiny_config(), people)
    config.evaluation.every = 1
    with caplog.at_level(logging.WARNING, 'jreid'):
        summary = loop.train(config, tmp_path / 'run', edit=toy)
    said = [record.message for record in caplog.records if 'no query and gallery' in record.message]
    assert len(said) == 1
    assert 'left out: the row of AdaBN' in said[0]
    assert "the source's test split (market1501, 12 queries)" in said[0]
    features = assert_whole_run(tmp_path / 'run', summary)
    assert set(features.images.camera.tolist()) == {0, 1}
    # The labels are those of the toy's last refresh, not a grouping of its own.
    assert not (tmp_path / 'run' / 'labels' / 'target_people.csv').exists()
    kinds = [
        json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    ]
    evaluations = [record for record in kinds if record['kind'] == 'evaluation']
    assert len(evaluations) == 5
    refreshes = [record for record in kinds if record['kind'] == 'refresh']
    assert refreshes
    assert not any('evaluation_rand' in record for record in refreshes)


def test_people_are_grouped_where_refreshes_make_no_clusters(tiny_config, people, tmp_path):
    config = unlabelled(tiny_config(), people)
    summary = loop.train(config, tmp_path / 'run', edit=soft_labels_alone)
    found = read_labels(tmp_path / 'run' / 'labels' / 'target_people.csv')
    labels = [int(row['label']) for row in found]
    assert labels == Features.load(tmp_path / 'run' / 'features.npz').images.identity.tolist()
    assert summary['identities_estimated'] == len({*labels} - {-1}) >= 1


def test_rows_of_the_source_are_measured_with_its_own_statistics(tiny_config, people):
    data = open_data(unlabelled(tiny_config(), people).data, select_on_source=False)
    assert data.test.role == 'source'
    assert data.test.statistics('target') == 'source'
    assert set(data.test_splits('target')) == {'source'}
    labelled = open_data(tiny_config().data, select_on_source=False)
    assert (labelled.test.role, labelled.test.statistics('target')) == ('target', 'target')
    assert set(labelled.test_splits('source')) == {'target', 'source'}


def test_neither_set_can_be_evaluated(tiny_config, people, tmp_path, caplog):
    config = unlabelled(tiny_config(), people)
    rows = [['image', 'identity', 'camera', 'split']]
    for path in sorted((people / 'one' / 'bounding_box_train').glob('*.jpg')):
        rows.append([path.name, path.name[:4], path.name[6], 'train'])
        (tmp_path / 'set').mkdir(exist_ok=True)
        (tmp_path / 'set' / path.name).write_bytes(path.read_bytes())
    with open(tmp_path / 'set' / 'index.csv', 'w', newline='') as file:
        csv.writer(file).writerows(rows)
    config.data.source, config.data.source_options = 'folder', {}
    config.data.source_root = str(tmp_path / 'set')
    config.figures.enabled = True
    config.figures.tsne_images = 30
    with caplog.at_level(logging.WARNING, 'jreid'):
        summary = loop.train(config, tmp_path / 'run', edit=source_alone)
    assert 'folder has none either, so there are no rows' in caplog.text
    assert summary['evaluated_on'] == ''
    assert not any(isinstance(row, dict) and 'mAP' in row for row in summary.values())
    assert 'nothing was measured' in (tmp_path / 'run' / 'summary.txt').read_text()
    people = read_labels(tmp_path / 'run' / 'labels' / 'target_people.csv')
    assert [int(row['label']) for row in people] == Features.load(
        tmp_path / 'run' / 'features.npz'
    ).images.identity.tolist()
    assert summary['identities_estimated'] == len({row['label'] for row in people} - {'-1'})
    assert (tmp_path / 'run' / 'figures' / 'tsne.png').is_file()
    assert not (tmp_path / 'run' / 'figures' / 'cmc.png').exists()


@pytest.mark.slow
def test_dmtnet_on_an_unlabelled_folder(tiny_config, people, tmp_path):
    config = unlabelled(tiny_config(source_epochs=1, adapt_epochs=2), people)
    config.model.options = {'widths': (8, 16)}  # little to compile
    config.figures.enabled = True
    config.figures.tsne_images = 30
    assert_whole_run(tmp_path / 'run', loop.train(config, tmp_path / 'run'))
    assert (tmp_path / 'run' / 'ranked.npz').is_file()


def test_a_number_of_identities_that_nobody_gives_is_refused(tiny_config, people, tmp_path):
    config = unlabelled(tiny_config('mtwnnet'), people)
    with pytest.raises(ValueError, match='needs the true number of target identities'):
        loop.train(config, tmp_path / 'run')


@pytest.mark.slow
@pytest.mark.parametrize('variant', ['source-only', 'dien', 'bl-ssg-dagger'])
def test_other_systems_on_an_unlabelled_folder(variant, tiny_config, people, tmp_path):
    """PTL's forms and TJ-AIDL: `test_unlabelled_systems.py`."""
    short = {**SHORT, 'source-only': {'source_epochs': 1}}
    config = unlabelled(tiny_config(variant, **short[variant]), people)
    config.model.options = {'widths': (8, 16)}  # little to compile
    assert_whole_run(tmp_path / 'run', loop.train(config, tmp_path / 'run'))
