"""Tests TJ-AIDL through the trainer: a run of both steps and its attribute tables."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import savemat

from jreid import methods
from jreid.commands import evaluate
from jreid.data import load
from jreid.data.pack import decode
from jreid.engine.augment import normalise
from jreid.methods.contract import Problem
from jreid.models import backbones
from jreid.run.checkpoints import Checkpoints
from jreid.training import loop
from jreid.training.initialisation import from_run

IDENTITY_BRANCH = ('identity_branch', 'identity_classifier')
STEP_ONE = 160
"""Number of the run's checkpoint of step 16, at which step I ends."""


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


def write_attributes(path, train, test):
    """Writes an annotation file of Market-1501's form. Identity 3 has no colour."""

    def part(identities):
        fields = {'image_index': np.array([f'{i:04d}' for i in identities], object)}
        colours = np.stack(
            [np.random.default_rng([7, i]).integers(40, 220, (2, 3)) for i in identities]
        )
        for row, name in enumerate(('up', 'down')):
            for channel, colour in enumerate(('red', 'green', 'blue')):
                fields[name + colour] = np.where(
                    (colours[:, row, channel] > 130) & (np.asarray(identities) != 3), 2.0, 1.0
                )
        return fields

    savemat(path, {'market_attribute': {'train': part(train), 'test': part(test)}})


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    folder = tmp_path_factory.mktemp('annotations')
    write_attributes(folder / 'one.mat', range(1, 9), range(21, 27))
    write_attributes(folder / 'two.mat', range(101, 109), range(121, 127))
    return folder


@pytest.fixture
def configured(tiny_config, annotations):
    def make(variant='tjaidl', **method):
        small = {
            'identity_iterations': 8,
            'joint_iterations': 8,
            'adapt_iterations': 8,
            'epoch_iterations': 4,
            'encoder_widths': (16, 12),
            'learning_rate': 5e-3,
            'adapt_learning_rate': 2e-3,
            'batch': 16,
            # The checkpoint of step I has them; the target's are estimated as step II begins.
            'frozen_statistics': 'source',
        }
        config = tiny_config(variant, **{**small, **method})
        config.data.source_options = {'attributes': str(annotations / 'one.mat'), 'expected': False}
        config.data.target_options = {'attributes': str(annotations / 'two.mat'), 'expected': False}
        config.checkpoint.keep, config.checkpoint.every_epochs = 20, 1
        # Little to compile.
        config.model.options = {'widths': (16,)}
        config.augment.erase_probability = 0.0
        return config

    return make


def restored(workdir, number=None):
    checkpoints = Checkpoints(workdir / 'checkpoints', read_only=True)
    return checkpoints.restore_model(number=number).tree


def test_identities_without_a_colour_are_kept(people, annotations):
    splits = load(
        'market1501', people / 'one', attributes=str(annotations / 'one.mat'), expected=False
    )
    assert splits.train.identities == 8
    third = splits.train.attributes[splits.train.identity == 2]
    assert len(third) == 12
    assert not third.any()
    assert splits.train.attributes.any(axis=1).sum() > 0


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('tjaidl')


@pytest.fixture
def run(folder, configured):
    """The folder of a run of both steps."""
    if not (folder / 'summary.json').exists():
        loop.train(configured(), folder)
    return folder


@pytest.fixture
def step_one(run, tmp_path):
    """A folder with the run's checkpoint of the end of step I alone."""
    name = str(STEP_ONE)
    shutil.copytree(run / 'checkpoints' / name, tmp_path / 'one' / 'checkpoints' / name)
    return tmp_path / 'one'


def test_run_has_rows_and_attribute_tables(run):
    summary = json.loads((run / 'summary.json').read_text())
    for row in ('source_only', 'adabn', 'adapted'):
        assert 0 <= summary[row]['mAP'] <= 100
        assert summary[row]['attributes']['target']['images'] == 60  # queries and gallery
        assert len(summary[row]['attributes']['target']['each']) == 6
    assert set(summary['source_only']['attributes']) == {'source', 'target'}
    assert set(summary['adapted']['attributes']) == {'target'}
    text = (run / 'summary.txt').read_text()
    assert (
        'source only (direct transfer), attributes on the source: 6 attributes, 60 images' in text
    )
    assert 'adapted, attributes on the target' in text
    assert evaluate.evaluate_run(run)['evaluated'] == summary['adapted']  # with the attribute table


def test_soft_labels_are_those_of_the_frozen_model(run, configured, people):
    """The outputs of the model at the end of step I are step II's soft labels to the end."""
    before, after = restored(run, STEP_ONE), restored(run)
    config = configured()
    module, record = backbones.build('tiny_cnn', config.model.options)
    target = load('market1501', people / 'two', **config.data.target_options).train
    names = load('market1501', people / 'one', **config.data.source_options).train.attribute_names
    table = np.genfromtxt(run / 'labels' / 'soft_attributes_000.csv', delimiter=',', names=True)
    assert table.dtype.names == names
    used = np.stack([table[name] for name in names], axis=1)
    method = methods.build(config.method, module, Problem((32, 16), 8, 96, len(target), names))
    images = np.stack([decode(path, (32, 16)) for path in target.path])
    mean, deviation = (tuple(x / 255 for x in values) for values in (record.mean, record.std))

    @jax.jit
    def probabilities(tree):
        ready = normalise(jnp.asarray(images), mean, deviation)
        return method.attributes(tree['params'], tree['state'], ready, 'source')

    frozen = probabilities(before)
    np.testing.assert_allclose(used, frozen, atol=2e-5)
    # Or the test would not tell the frozen model from the adapted one.
    assert np.abs(probabilities(after) - frozen).max() > 1e-3
    np.testing.assert_allclose(after['state'].memory['soft_labels'], used, atol=1e-6)


def test_identity_branch_is_untouched_by_step_two(run):
    before, after = restored(run, STEP_ONE), restored(run)
    for name in IDENTITY_BRANCH:
        assert same(before['params'][name], after['params'][name])
    for domain, statistics in before['state'].statistics.items():
        own = after['state'].statistics[domain]['identity_branch']
        if domain == 'source':
            assert same(statistics['identity_branch'], own)
    for name in ('iia', 'attribute_branch'):
        assert not same(before['params'][name], after['params'][name])


def test_step_two_begins_with_a_run_of_step_one(step_one, run, configured):
    """What the ten splits of VIPeR and PRID2011 share is trained once."""
    config = configured(identity_iterations=0, joint_iterations=0)
    module, _ = backbones.build('tiny_cnn', config.model.options)
    names = tuple('abcdef')
    method = methods.build(config.method, module, Problem((32, 16), 8, 96, 96, names))
    assert [(phase.name, phase.report_as) for phase in method.phases] == [('adapt', 'adapted')]
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    fresh = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
    params, state = from_run(step_one, method, *fresh)
    before = restored(run, STEP_ONE)
    assert same(params, before['params'])
    assert same(state.statistics, before['state'].statistics)
    assert same(state.memory, fresh[1].memory)


# -- runs that take longer -------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.mark.slow
def test_killed_in_step_two_and_resumed_without_labels_of_the_target(
    run, configured, tmp_path, monkeypatch
):
    """Every parameter and record is that of the run that went through.

    That one had attribute labels of the target, for evaluation.
    """
    original, count = loop.Run._account, 0
    config = configured()
    config.data.target_options = {'attributes': False, 'expected': False}

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == 22:  # of 24 steps, 8 of them step II's, in which a checkpoint comes every 4
            raise Killed
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, '_account', dies)
        with pytest.raises(Killed):
            loop.train(config, tmp_path)
    loop.train(config, tmp_path)
    assert same(restored(run), restored(tmp_path))
    assert (run / 'metrics.jsonl').read_bytes() == (tmp_path / 'metrics.jsonl').read_bytes()


@pytest.mark.slow
def test_step_one_does_not_depend_on_the_weights_of_the_iia_nor_on_step_two(
    run, configured, tmp_path
):
    """Runs without step II end with the model that the run of both steps had there.

    With other weights of the IIA's losses, its identity branch is still the same.
    """
    one = {'adapt_iterations': 0}
    loop.train(configured('tjaidl-no-adaptation', **one), tmp_path / 'one')
    weights = {'weight_transfer': 0.0, 'weight_reconstruction': 1.0}
    loop.train(configured('tjaidl-no-adaptation', **one, **weights), tmp_path / 'other')
    middle = restored(run, STEP_ONE)['params']
    alone, other = (restored(tmp_path / name)['params'] for name in ('one', 'other'))
    assert same(alone, middle)
    for name in IDENTITY_BRANCH:
        assert same(other[name], middle[name])
    for name in ('iia', 'attribute_branch'):
        assert not same(other[name], middle[name])


@pytest.mark.slow
def test_step_two_from_a_run_of_step_one(step_one, run, configured, tmp_path):
    config = configured(identity_iterations=0, joint_iterations=0)
    config.init.run = str(step_one)
    summary = loop.train(config, tmp_path / 'two')
    assert 'source_only' not in summary
    name = 'labels/soft_attributes_000.csv'
    assert (run / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()
    before, after = restored(step_one)['params'], restored(tmp_path / 'two')['params']
    assert same(before['identity_branch'], after['identity_branch'])
    assert not same(before['attribute_branch'], after['attribute_branch'])
