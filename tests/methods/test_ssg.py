"""SSG through the trainer: several labels an image, eps that is kept, resuming, starting from
another run.
"""

import json

import jax
import numpy as np
import pytest

from jreid.run.checkpoints import Checkpoints
from jreid.training import loop as trainer

SMALL = {
    'rounds': 2,
    'round_epochs': 1,
    'group_identities': 4,
    'group_images': 4,
    'group_learning_rate': 1e-3,
    'joint_width': 8,
    'k1': 6,
    'k2': 3,
    'rho': 0.05,
}


def state(workdir):
    found = Checkpoints(workdir / 'checkpoints', read_only=True).restore_model()
    assert found is not None
    return found.tree


def records(workdir, kind):
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [line for line in lines if line['kind'] == kind]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('ssg')


@pytest.fixture
def config_of(tiny_config):
    def make(variant, **method):
        config = tiny_config(
            variant,
            **{
                **SMALL,
                'source_epochs': 2 if variant == 'bl-ssg' else 0,
                'cluster_centring': 'none',
                **method,
            },
        )
        config.checkpoint.every_steps = 1
        return config

    return make


@pytest.fixture
def finished(folder, config_of):
    if not (folder / 'summary.json').exists():
        trainer.train(config_of('bl-ssg'), folder)
    return folder


def test_rounds_with_three_label_sets_and_one_eps(finished):
    summary = json.loads((finished / 'summary.json').read_text())
    assert set(summary) >= {'source_only', 'adabn', 'adapted', 'identities_estimated'}
    rounds = records(finished, 'refresh')
    assert len(rounds) == 2
    for part in ('whole', 'upper', 'lower'):
        assert 0 < rounds[0][f'eps_{part}'] < 0.9
        assert rounds[0][f'eps_{part}'] == rounds[1][f'eps_{part}']
    assert rounds[0]['eps_upper'] != rounds[0]['eps_lower']
    table = np.genfromtxt(
        finished / 'labels' / 'target_001.csv', delimiter=',', names=True, dtype=None, encoding=None
    )
    assert table.dtype.names == ('image', 'label', 'label_2', 'label_3')
    assert (
        len(np.unique(table['label'])) - (table['label'] < 0).any() == rounds[1]['clusters_whole']
    )
    assert (table['label_3'] < 0).sum() == rounds[1]['noise_lower']
    assert {'joint', 'whole', 'upper', 'lower'} <= set(records(finished, 'train')[-1])


class Killed(BaseException):
    """Stands for a SIGKILL."""


def test_killed_in_the_second_round_resumes_exactly(finished, config_of, tmp_path, monkeypatch):
    original, count = trainer.Run.refresh, 0

    def dies(self):
        nonlocal count
        count += 1
        if count == 2:
            raise Killed
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Run, 'refresh', dies)
        with pytest.raises(Killed):
            trainer.train(config_of('bl-ssg'), tmp_path)
    trainer.train(config_of('bl-ssg'), tmp_path)
    for a, b in zip(
        jax.tree.leaves(state(finished)), jax.tree.leaves(state(tmp_path)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert (finished / 'metrics.jsonl').read_bytes() == (tmp_path / 'metrics.jsonl').read_bytes()
    assert (finished / 'labels' / 'target_001.csv').read_bytes() == (
        tmp_path / 'labels' / 'target_001.csv'
    ).read_bytes()


@pytest.mark.parametrize(
    ('system', 'settings', 'unused'),
    [
        ('source-only', {'source_epochs': 1}, 'params/classification/kernel'),
        (
            'dien-base',
            {'joint_epochs': 1, 'embedding_width': 8, 'target_batch': 16},
            'params/embedding/',
        ),
    ],
)
def test_starts_from_a_run_of_another_system(
    system, settings, unused, config_of, tiny_config, tmp_path, caplog
):
    """DMTNet or DIEN, to be refined."""
    trainer.train(tiny_config(system, **settings), tmp_path / 'other')
    # Nothing moves the parameters, so what is left at the end is what the run started from.
    config = config_of(
        'ssg-dagger', rounds=1, group_learning_rate=0.0, weight_decay=0.0, neighbours=10
    )
    config.init.run = str(tmp_path / 'other')
    with caplog.at_level('INFO', logger='jreid'):
        summary = trainer.train(config, tmp_path / 'ssg')
    assert 'adapted' in summary
    assert 'source_only' not in summary
    there, here = state(tmp_path / 'other')['params'], state(tmp_path / 'ssg')['params']
    for a, b in zip(
        jax.tree.leaves(there['backbone']), jax.tree.leaves(here['backbone']), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert f'not used: {unused}' in caplog.text
    assert 'stays fresh: params/joint/kernel' in caplog.text


def test_run_of_another_backbone_or_none_is_refused(finished, config_of, tmp_path):
    config = config_of('ssg-dagger')
    config.init.run = str(finished)
    config.model.options = {'widths': (8, 16, 48)}
    with pytest.raises(
        ValueError,
        match=r'params/backbone/.* here, .* in the run; give both runs the same model.backbone',
    ):
        trainer.train(config, tmp_path / 'one')
    config.init.run = str(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match='holds no run'):
        trainer.train(config, tmp_path / 'two')


def test_unknown_centring_is_refused(config_of, tmp_path):
    with pytest.raises(
        ValueError, match=r"cluster_centring is 'cameras'; expected 'camera' or 'none'"
    ):
        trainer.train(config_of('ssg', cluster_centring='cameras'), tmp_path)


def test_rounds_on_features_centred_by_camera(config_of, tmp_path):
    eps = {}
    for centring in ('none', 'camera'):
        trainer.train(config_of('ssg', cluster_centring=centring, rounds=1), tmp_path / centring)
        eps[centring] = records(tmp_path / centring, 'refresh')[0]['eps_whole']
    assert 0 < eps['camera'] != eps['none']
