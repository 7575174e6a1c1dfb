"""Tests TJ-AIDL: which loss reaches which part, the frozen soft labels, and a run of both steps."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import savemat

from jreid import methods
from jreid.commands import evaluate
from jreid.configs import variants
from jreid.data import load
from jreid.data.pack import decode
from jreid.engine.accumulation import value_and_gradient
from jreid.engine.augment import normalise
from jreid.methods import tjaidl
from jreid.methods.contract import Context, Problem
from jreid.models import backbones
from jreid.run.checkpoints import Checkpoints
from jreid.training import loop
from jreid.training.initialisation import from_run

NAMES = ('hat', 'bag', 'gender', 'young')
SIZE = (16, 8)
VARIANTS = [name for name in variants.VARIANTS if name.startswith('tjaidl')]
PARTS = {
    'identity branch': ('identity_branch', 'identity_classifier'),
    'IIA': ('iia',),
    'attribute branch': ('attribute_branch', 'attribute_classifier'),
}


def method_of(variant='tjaidl', **changes):
    settings = variants.method_settings(variant)
    settings.update({'encoder_widths': (64, 48), **changes})
    module, _ = backbones.build('tiny_cnn', {'widths': (16,)})
    return methods.build(settings, module, Problem(SIZE, 5, 20, 12, NAMES))


def batch_of(n=6):
    """Returns random images of both domains, with labels for the source."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(n, *SIZE, 3)).astype(np.float32)
    source = {
        'image': image,
        'identity': rng.integers(0, 5, n),
        'attributes': rng.integers(0, 2, (n, 4)).astype(np.float32),
    }
    row = np.arange(n)
    target = {'image': image[::-1] + 0.5, 'label': np.full(n, -1), 'row': row}
    return {'source': source, 'target': target}


def begun(method):
    """Returns random parameters and a random state; `init` would compile for a second."""
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    # Positive, since running variances and soft labels are.
    state = jax.tree.map(lambda x: rng.random(x.shape).astype(np.float32), shapes[1])
    params = jax.tree.map(
        lambda x: (0.3 * rng.standard_normal(x.shape)).astype(np.float32), shapes[0]
    )
    return params, state


@pytest.fixture(scope='module')
def method():
    return method_of()


@pytest.fixture(scope='module')
def fresh(method):
    return begun(method)


def context():
    return Context(jax.random.key(0), jnp.float32(0))


def step(phase, params, state):
    """Returns what the forward and backward passes of a phase give."""

    def run(params, state):
        batch = {name: batch_of()[name] for name in phase.streams}
        parts = phase.forward, phase.terms, phase.metrics
        return value_and_gradient(*parts, params, state, batch, context())

    return jax.jit(run)(params, state)


@pytest.fixture(scope='module')
def steps(method, fresh):
    """Phase -> what a step of it gives."""
    return {phase.name: step(phase, *fresh) for phase in method.phases}


def kernels(tree, names):
    return [leaf for name in names for leaf in jax.tree.leaves(tree[name]) if leaf.ndim > 1]


def reached(gradient):
    """Returns the parts with a gradient: one is reached in all of its weight arrays or in none."""
    parts = set()
    for part, names in PARTS.items():
        largest = [np.abs(leaf).max() for leaf in kernels(gradient, names)]
        if any(largest):
            assert all(largest), part
            parts.add(part)
        else:
            every = [leaf for name in names for leaf in jax.tree.leaves(gradient[name])]
            assert not any(np.abs(leaf).max() for leaf in every), part
    return parts


@pytest.mark.parametrize(
    ('phase', 'expected'),
    [
        ('identity', {'loss_identity': {'identity branch'}}),
        (
            'joint',
            {
                'loss_identity': {'identity branch'},
                'loss_iia': {'IIA'},
                'loss_attributes': {'attribute branch'},
            },
        ),
        ('adapt', {'loss_iia': {'IIA'}, 'loss_attributes': {'attribute branch'}}),
    ],
)
def test_losses_reach_their_own_part_alone(phase, expected, method, fresh, steps):
    """So other weights of the IIA's losses leave the identity branch's gradient as it is."""
    chosen = next(p for p in method.phases if p.name == phase)
    params, state = fresh
    batch = {name: batch_of()[name] for name in chosen.streams}

    @jax.jit
    def gradients(params):
        def terms(params):
            outputs, _ = chosen.forward(params, state, batch, context())
            return {n: term(outputs, batch, state, context()) for n, term in chosen.terms.items()}

        values, pull = jax.vjp(terms, params)
        return {n: pull({m: jnp.float32(m == n) for m in values})[0] for n in values}

    own = gradients(params)
    assert list(chosen.terms) == list(expected)
    for name, parts in expected.items():
        assert reached(own[name]) == parts, name
    whole = steps[phase]
    assert reached(whole.gradients) == set().union(*expected.values())
    total = sum(float(whole.scalars[name]) for name in expected)
    assert float(whole.loss) == pytest.approx(total, rel=1e-5)


def test_losses_by_hand():
    """Equations 1, 6 and 7 written out with numpy.

    An image without attribute labels counts in Eq. 3 and 4 alone.
    """
    rng = np.random.default_rng(2)
    shapes = {'identity': 5, 'attributes': 4, 'code': 4, 'identity_branch': 7, 'reconstruction': 7}
    out = {name: rng.normal(size=(3, n)).astype(np.float32) for name, n in shapes.items()}
    identity, labels = np.array([4, 0, 2]), rng.integers(0, 2, (3, 4)).astype(np.float32)
    labels[1] = np.nan
    settings = tjaidl.Settings(weight_reconstruction=3.0, weight_transfer=7.0)
    terms = tjaidl.routed_terms('source', tjaidl.LOSSES, settings)
    batch = {'source': {'identity': identity, 'attributes': labels}}

    @jax.jit
    def losses(out):
        return {n: term({'source': out}, batch, None, context()) for n, term in terms.items()}

    def sigmoid_loss(logits):
        p = 1 / (1 + np.exp(-logits))
        return -np.sum(labels * np.log(p) + (1 - labels) * np.log(1 - p), axis=1)[[0, 2]].mean()

    actual = losses(out)
    transfer = np.mean((out['code'] - out['attributes']) ** 2)
    reconstruction = np.mean((out['reconstruction'] - out['identity_branch']) ** 2)
    p = np.exp(out['identity']) / np.exp(out['identity']).sum(1, keepdims=True)
    expected = {
        'loss_identity': -np.log(p[np.arange(3), identity]).mean(),
        'loss_iia': sigmoid_loss(out['code']) + 3 * reconstruction + 7 * transfer,
        'loss_attributes': sigmoid_loss(out['attributes']) + 7 * transfer,
    }
    assert actual == pytest.approx(expected, rel=1e-5)
    gradient = jax.jit(jax.grad(lambda code: sum(losses({**out, 'code': code}).values())))
    assert np.isfinite(gradient(out['code'])).all()


def test_statistics_that_move(method, fresh, steps):
    """Step I alone moves the identity branch's, all of it both.

    Step II moves the attribute branch's of the target.
    """
    expected = {
        'identity': {('source', 'identity_branch')},
        'joint': {('source', 'identity_branch'), ('source', 'attribute_branch')},
        'adapt': {('target', 'attribute_branch')},
    }
    before = fresh[1].statistics
    for phase in method.phases:
        after = steps[phase.name].state.statistics
        assert jax.tree.structure(after) == jax.tree.structure(before)
        moved = {
            (domain, branch)
            for domain in after
            for branch in after[domain]
            if not same(after[domain][branch], before[domain][branch])
        }
        assert moved == expected[phase.name]


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


def test_only_the_attribute_feature_retrieves(method, fresh):
    """Embedding is the pooled map of the attribute branch.

    The identity branch's parameters do not matter to it.
    """
    params, state = fresh
    images = batch_of()['source']['image']
    feature = jax.jit(lambda *a: method.embed(*a, 'source'))(params, state, images)
    module, _ = backbones.build('tiny_cnn', {'widths': (16,)})
    variables = {
        'params': params['attribute_branch'],
        'batch_stats': state.statistics['source']['attribute_branch'],
    }
    maps = jax.jit(lambda *a: module.apply(*a, train=False))(variables, images)
    np.testing.assert_allclose(feature, maps.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('variant', ['tjaidl-independent', 'tjaidl-joint', 'tjaidl-id-only'])
def test_forms_without_adaptation(variant):
    method = method_of(variant)
    params, state = begun(method)
    assert 'iia' not in params
    assert 'adapt' not in [phase.name for phase in method.phases]
    assert {phase.report_as for phase in method.phases} <= {'', 'source_only'}
    assert method.refresh is None
    assert (method.attributes is None) == (variant == 'tjaidl-id-only')
    result = step(method.phases[-1], params, state)
    supervised = {'loss_identity', 'loss_attributes'}
    losses = {name for name in result.scalars if name.startswith('loss_')}
    assert losses == (supervised - {'loss_attributes'} if method.attributes is None else supervised)
    every = [name for name in params if name not in PARTS['IIA']]
    assert all(np.abs(leaf).max() > 0 for leaf in kernels(result.gradients, every))
    images = batch_of()['source']['image']
    feature = jax.eval_shape(lambda *a: method.embed(*a, 'source'), params, state, images)
    # Independent supervision concatenates both features.
    both = variant == 'tjaidl-independent'
    assert feature.shape == (6, 32 if both else 16)
    if both:
        assert method.backbones == ('identity_branch', 'attribute_branch')


def test_lengths_of_the_forms():
    """100,000 iterations of the identity branch alone, 20,000 of all, 20,000 on the target
    (section 4); ablations as long.
    """
    lengths = {
        v: {p.name: p.epochs * p.steps_per_epoch for p in method_of(v).phases} for v in VARIANTS
    }
    assert lengths == {
        'tjaidl': {'identity': 100_000, 'joint': 20_000, 'adapt': 20_000},
        'tjaidl-attribute-only': {'attributes': 20_000},
        'tjaidl-id-only': {'identity': 120_000},
        'tjaidl-independent': {'identity': 100_000, 'joint': 20_000},
        'tjaidl-joint': {'joint': 120_000},
        'tjaidl-no-adaptation': {'identity': 100_000, 'joint': 20_000},
    }
    optimizer = method_of().phases[-1].optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.b1, optimizer.b2) == (
        'adam',
        0.002,
        0.5,
        0.999,
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'form': 'both'}, "method.form is 'both'"),
        ({'frozen_statistics': 'mean'}, "expected 'source' or 'target'"),
        ({'joint_iterations': 0}, 'nothing trains the attribute branch'),
        (
            {'adapt_iterations': 1500},
            r'adapt_iterations is 1,500, no multiple of epoch_iterations \(1,000\)',
        ),
    ],
)
def test_settings_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        method_of(**changes)


def test_source_without_attributes():
    module, _ = backbones.build('tiny_cnn', {})
    problem = Problem(SIZE, 5, 20, 12)
    with pytest.raises(ValueError, match='no attribute labels.*tjaidl-id-only'):
        methods.build(variants.method_settings('tjaidl'), module, problem)
    alone = methods.build(variants.method_settings('tjaidl-id-only'), module, problem)
    assert alone.attributes is None


# -- a run ---------------------------------------------------------------------------------------


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
        }
        config = tiny_config(variant, **{**small, **method})
        config.data.source_options = {'attributes': str(annotations / 'one.mat'), 'expected': False}
        config.data.target_options = {'attributes': str(annotations / 'two.mat'), 'expected': False}
        config.checkpoint.keep = 20
        # Little to compile.
        config.model.options = {'widths': (16,)}
        config.augment.erase_probability = 0.0
        return config

    return make


STEP_ONE = 160
"""Number of the run's checkpoint of step 16, at which step I ends."""


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
    for name in PARTS['identity branch']:
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
    fresh = begun(method)
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
    for name in PARTS['identity branch']:
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


def test_every_setting_has_its_default():
    fields = {field.name for field in dataclasses.fields(tjaidl.Settings)}
    assert set(variants.method_settings('tjaidl')) - {'name'} == fields
