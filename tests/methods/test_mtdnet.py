"""MTDnet: its network, losses, the coupled form, and runs of every variant."""

import json

import pytest

from configs import variants
from jreid import train
from jreid.checkpoint import Checkpoints

VARIANTS = [name for name in variants.VARIANTS if name.startswith('mtdnet')]
SMALL = {'pair_widths': (16, 16, 8), 'dense_width': 24, 'feature_width': 12, 'triplets_a_pair': 3, 'pairs_a_batch': 4, 'initial': 'he', 'dropout': 0.2}
SMALL |= {'source_iterations': 12, 'target_iterations': 12, 'epoch_iterations': 6, 'learning_rate': 1e-2}


@pytest.fixture
def configured(tiny_config):
    def make(variant='mtdnet', **method):
        config = tiny_config(variant, **{**SMALL, **method})
        config.evaluation.pairs = 64
        return config

    return make


def restored(workdir):
    return Checkpoints(workdir / 'checkpoints', read_only=True).restore_model().tree


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_variant_runs(variant, configured, tmp_path):
    train.train(configured(variant), tmp_path)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    for row in ('source_only', 'supervised'):
        assert 0 <= summary[row]['mAP'] <= 100
        assert summary[row]['queries'] == 12
        assert summary[row]['single_shot']['rank1'] <= 100
    assert 'adabn' not in summary
