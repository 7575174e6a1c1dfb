"""Systems that read more than identities, on a target without any label: they train, or say why."""

import csv
import json

import numpy as np
import pytest

from jreid.commands import threshold
from jreid.commands.extract import Features
from jreid.configs import demo
from jreid.training import loop

SHORT = {
    'tjaidl': {
        'identity_iterations': 4,
        'joint_iterations': 4,
        'adapt_iterations': 4,
        'epoch_iterations': 4,
    },
    'ptl-hp-s': {'source_epochs': 1},
    'ptl-attr-s': {'source_epochs': 1},
    'bl-ssg': {'source_epochs': 1, 'rounds': 1, 'round_epochs': 1},
}


@pytest.mark.slow
@pytest.mark.parametrize('variant', list(SHORT))
def test_they_train_keep_features_and_people_and_tell_a_threshold(variant, people, tmp_path):
    config = demo.get_config(variant)
    config.data.source_options.identities = 16
    config.data.target, config.data.target_options = 'folder', {}
    config.data.target_root = str(people / 'two' / 'bounding_box_train')
    config.data.height, config.data.width = 32, 16
    config.model.backbone, config.model.options = 'tiny_cnn', {'widths': (8, 16)}
    config.augment.erase_probability = 0.0
    config.figures.enabled = False
    config.method.update(SHORT[variant])
    run = tmp_path / 'run'
    summary = loop.train(config, run)
    assert summary['evaluated_on'] == 'source'
    features = Features.load(run / 'features.npz')
    assert len(features.images) == 96
    assert np.isfinite(features.features).all()
    with open(max((run / 'labels').glob('target_*.csv')), newline='') as file:
        labels = [int(row['label']) for row in csv.DictReader(file)]
    assert labels == features.images.identity.tolist()
    rows = [row for row in summary.values() if isinstance(row, dict) and 'mAP' in row]
    assert rows
    assert all(row['split'] == 'source' for row in rows)
    found = threshold.threshold('auto', str(run))
    assert 'as the target has no labels' in found.source
    (run / 'summary.json').unlink()
    again = threshold.threshold('auto', str(run))
    assert again.distance == pytest.approx(found.distance, rel=1e-3)


@pytest.mark.parametrize(
    ('variant', 'labels', 'message'),
    [
        ('ptl', False, r'human parsing on the target needs label maps.*data\.target_teacher'),
        ('ptl-attr-t', False, r'attributes on the target need labels.*data\.target_teacher'),
        ('ptl-ssg', False, r'human parsing on the target needs label maps'),
        ('mtdnet', False, 'supervised on the target.*data.target_labels is False'),
        ('mtdnet', True, 'none of the 96 training images of the target folder has an identity'),
    ],
)
def test_what_needs_labels_of_the_target_is_refused(
    variant, labels, message, tiny_config, people, tmp_path
):
    config = tiny_config(variant)
    config.data.target, config.data.target_options = 'folder', {}
    config.data.target_root = str(people / 'two' / 'bounding_box_train')
    config.data.target_labels = labels
    with pytest.raises(ValueError, match=message):
        loop.train(config, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_a_threshold_of_a_row_of_the_source_says_so(tmp_path):
    rates = {'tpr': {'0.001': 3.0}, 'thresholds': {'0.001': 0.5}, 'compares': 'features'}
    rows = {'adapted': {'mAP': 1.0, 'split': 'source', 'verification': rates}}
    (tmp_path / 'summary.json').write_text(json.dumps({'source': 'plaza', 'target': 'x', **rows}))
    found = threshold.threshold('auto', str(tmp_path))
    assert found.distance == 0.5
    assert "the source's test split, plaza, as the target has no labels" in found.source
