"""TJ-AIDL: which loss reaches which part, the frozen soft labels, and runs of every variant."""

import dataclasses
import json

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
from jreid.engine.augment import normalise
from jreid.methods import tjaidl
from jreid.methods.contract import Problem
from jreid.models import backbones
from jreid.run.checkpoints import Checkpoints
from jreid.training import loop as train

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
    module, _ = backbones.build('tiny_cnn', {'widths': (8, 16)})
    return methods.build(settings, module, Problem(SIZE, 5, 20, 12, NAMES))


def batch_of(method, n=6):
    """Random images of both domains, with labels for the source."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(n, *SIZE, 3)).astype(np.float32)
    source = {
        'image': image,
        'identity': rng.integers(0, 5, n),
        'attributes': rng.integers(0, 2, (n, 4)).astype(np.float32),
    }
    target = {'image': image[::-1] + 0.5, 'identity': np.full(n, -1), 'row': np.arange(n)}
    params, model_state, extra = method.init(jax.random.key(1))
    extra = {'soft_labels': rng.random(extra['soft_labels'].shape).astype(np.float32)}
    return {'source': source, 'target': target}, params, model_state, extra


def reached(gradient):
    """The parts with a gradient; a part is reached in all of its weight arrays or in none."""
    found = set()
    for part, names in PARTS.items():
        kernels = [
            np.abs(leaf).max()
            for name in names
            for leaf in jax.tree.leaves(gradient[name])
            if leaf.ndim > 1
        ]
        if any(kernels):
            assert all(kernels), part
            found.add(part)
        else:
            assert not any(
                np.abs(leaf).max() for name in names for leaf in jax.tree.leaves(gradient[name])
            ), part
    return found


@pytest.mark.parametrize(
    ('phase', 'wanted'),
    [
        ('identity', {'loss': {'identity branch'}, 'loss_identity': {'identity branch'}}),
        (
            'joint',
            {
                'loss': set(PARTS),
                'loss_identity': {'identity branch'},
                'loss_iia': {'IIA'},
                'loss_attributes': {'attribute branch'},
            },
        ),
        (
            'adapt',
            {
                'loss': {'IIA', 'attribute branch'},
                'loss_iia': {'IIA'},
                'loss_attributes': {'attribute branch'},
            },
        ),
    ],
)
def test_losses_reach_their_own_part_alone(phase, wanted):
    method = method_of()
    objective = next(p.objective for p in method.phases if p.name == phase)
    batch, params, model_state, extra = batch_of(method)

    @jax.jit
    def terms(params):
        total, (_, metrics) = objective(params, model_state, batch, None, 0.0, extra)
        return {
            'loss': total,
            **{name: metrics[name] for name in metrics if name.startswith('loss_')},
        }

    values, pull = jax.vjp(terms, params)
    assert set(values) == set(wanted)
    for term, parts in wanted.items():
        (gradient,) = pull({name: jnp.float32(name == term) for name in values})
        assert reached(gradient) == parts, term
    assert float(values['loss']) == pytest.approx(
        sum(float(values[name]) for name in values if name != 'loss'), rel=1e-5
    )


def test_losses_by_hand():
    """Equations 1, 6 and 7 written out with numpy; an image without attribute labels counts in
    Eq. 3 and 4 alone.
    """
    rng = np.random.default_rng(2)
    out = {
        'identity': rng.normal(size=(3, 5)),
        'attributes': rng.normal(size=(3, 4)),
        'code': rng.normal(size=(3, 4)),
    }
    out |= {'identity_branch': rng.normal(size=(3, 7)), 'reconstruction': rng.normal(size=(3, 7))}
    out = {name: value.astype(np.float32) for name, value in out.items()}
    identity, labels = np.array([4, 0, 2]), rng.integers(0, 2, (3, 4)).astype(np.float32)
    labels[1] = np.nan
    found = tjaidl.routed_losses(
        out, identity, labels, weight_reconstruction=3.0, weight_transfer=7.0
    )

    def sigmoid_loss(logits):
        p = 1 / (1 + np.exp(-logits))
        return -np.sum(labels * np.log(p) + (1 - labels) * np.log(1 - p), axis=1)[[0, 2]].mean()

    transfer = np.mean((out['code'] - out['attributes']) ** 2)
    reconstruction = np.mean((out['reconstruction'] - out['identity_branch']) ** 2)
    p = np.exp(out['identity']) / np.exp(out['identity']).sum(1, keepdims=True)
    assert found['identity'] == pytest.approx(-np.log(p[np.arange(3), identity]).mean(), rel=1e-5)
    assert found['iia'] == pytest.approx(
        sigmoid_loss(out['code']) + 3 * reconstruction + 7 * transfer, rel=1e-5
    )
    assert found['attributes'] == pytest.approx(
        sigmoid_loss(out['attributes']) + 7 * transfer, rel=1e-5
    )
    gradient = jax.grad(
        lambda x: sum(
            tjaidl.routed_losses(
                {**out, 'code': x}, identity, labels, weight_reconstruction=3, weight_transfer=7
            ).values()
        )
    )
    assert np.isfinite(gradient(jnp.asarray(out['code']))).all()


def test_statistics_that_move():
    """Step I alone moves the identity branch's, all of it both, step II the attribute branch's
    of the target.
    """
    method = method_of()
    batch, params, model_state, extra = batch_of(method)
    wanted = {
        'identity': {('source', 'identity_branch')},
        'adapt': {('target', 'attribute_branch')},
    }
    wanted['joint'] = {('source', 'identity_branch'), ('source', 'attribute_branch')}
    for phase in method.phases:
        _, (after, _) = jax.jit(phase.objective)(params, model_state, batch, None, 0.0, extra)
        assert jax.tree.structure(after) == jax.tree.structure(model_state)
        moved = {
            (domain, branch)
            for domain in after
            for branch in after[domain]
            if any(
                (a != b).any()
                for a, b in zip(
                    jax.tree.leaves(after[domain][branch]),
                    jax.tree.leaves(model_state[domain][branch]),
                    strict=True,
                )
            )
        }
        assert moved == wanted[phase.name]


def test_only_the_attribute_feature_retrieves():
    """Embedding is the pooled map of the attribute branch: the identity branch's parameters do
    not matter to it.
    """
    method = method_of()
    batch, params, model_state, _ = batch_of(method)
    feature = method.embed(
        {'params': params, 'model_state': model_state}, batch['source']['image'], 'source'
    )
    module, _ = backbones.build('tiny_cnn', {'widths': (8, 16)})
    variables = {
        'params': params['attribute_branch'],
        'batch_stats': model_state['source']['attribute_branch'],
    }
    np.testing.assert_allclose(
        feature,
        module.apply(variables, batch['source']['image'], train=False).mean((1, 2)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_independent_supervision_concatenates_both_features():
    method = method_of('tjaidl-independent')
    batch, params, model_state, _ = batch_of(method)
    feature = method.embed(
        {'params': params, 'model_state': model_state}, batch['source']['image'], 'source'
    )
    assert feature.shape == (6, 32)
    assert 'iia' not in params
    assert method.backbones == ('identity_branch', 'attribute_branch')


def test_lengths_of_the_forms():
    """100,000 iterations of the identity branch alone, 20,000 of all, 20,000 on the target
    (section 4); ablations as long.
    """
    lengths = {v: {p.name: p.epochs * p.steps for p in method_of(v).phases} for v in VARIANTS}
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
    assert (
        methods.build(variants.method_settings('tjaidl-id-only'), module, problem).attributes
        is None
    )


# -- runs
# -------------------------------------------------------------------------------------------------------------------------------------------


def write_attributes(path, train, test):
    """An annotation file of Market-1501's form. Identity 3 has no colour."""

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
        }
        config = tiny_config(
            variant,
            **{**small, 'learning_rate': 5e-3, 'adapt_learning_rate': 2e-3, 'batch': 16, **method},
        )
        if 'adapt_iterations' in variants.VARIANTS[variant].changes:
            config.method.adapt_iterations = 0
        config.data.source_options = {'attributes': str(annotations / 'one.mat'), 'expected': False}
        config.data.target_options = {'attributes': str(annotations / 'two.mat'), 'expected': False}
        return config

    return make


def restored(workdir):
    found = Checkpoints(workdir / 'checkpoints', read_only=True)
    return found.restore_model().tree


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
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp('both'), tmp_path_factory.mktemp('step_one')


@pytest.fixture
def run(folders, configured):
    """A run of both steps."""
    if not (folders[0] / 'summary.json').exists():
        train.train(configured(), folders[0])
    return folders[0]


@pytest.fixture
def step_one(folders, configured):
    """The same run without step II."""
    if not (folders[1] / 'summary.json').exists():
        train.train(configured('tjaidl-no-adaptation'), folders[1])
    return folders[1]


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


def test_soft_labels_are_those_of_the_frozen_model(run, step_one, configured, people):
    """The run without step II ends with the model whose outputs the run of both steps used as
    soft labels, and kept to its end.
    """
    before, after = restored(step_one), restored(run)
    config = configured()
    module, record = backbones.build('tiny_cnn', config.model.options)
    target = load('market1501', people / 'two', **config.data.target_options).train
    names = load('market1501', people / 'one', **config.data.source_options).train.attribute_names
    table = np.genfromtxt(run / 'labels' / 'soft_attributes_000.csv', delimiter=',', names=True)
    assert table.dtype.names == names
    used = np.stack([table[name] for name in names], axis=1)
    method = methods.build(config.method, module, Problem((32, 16), 8, 96, len(target), names))
    images = np.stack([decode(path, (32, 16)) for path in target.path])
    ready = normalise(
        jnp.asarray(images), tuple(m / 255 for m in record.mean), tuple(s / 255 for s in record.std)
    )
    probabilities = jax.jit(lambda variables: method.attributes(variables, ready, 'source'))
    frozen = probabilities(before)
    np.testing.assert_allclose(used, frozen, atol=2e-5)
    # or the test would not tell the frozen model from the adapted one
    assert np.abs(probabilities(after) - frozen).max() > 1e-3
    resumed = train.Run(configured(), run)
    np.testing.assert_allclose(resumed.state.extra['soft_labels'], used, atol=1e-6)
    resumed.close()


def test_identity_branch_is_untouched_by_the_iia_and_by_step_two(
    run, step_one, configured, tmp_path
):
    """Other weights of the IIA's losses end in the same identity branch; so does a run without
    step II.
    """
    train.train(
        configured('tjaidl-no-adaptation', weight_transfer=0.0, weight_reconstruction=1.0), tmp_path
    )
    one, before, other = (restored(folder) for folder in (run, step_one, tmp_path))
    for name in PARTS['identity branch']:
        for tree in (before, other):
            for a, b in zip(
                jax.tree.leaves(one['params'][name]),
                jax.tree.leaves(tree['params'][name]),
                strict=True,
            ):
                np.testing.assert_array_equal(a, b)
    for name in ('iia', 'attribute_branch'):
        assert any(
            (a != b).any()
            for a, b in zip(
                jax.tree.leaves(before['params'][name]),
                jax.tree.leaves(other['params'][name]),
                strict=True,
            )
        )


class Killed(BaseException):
    """Stands for a SIGKILL."""


def test_killed_in_step_two_and_resumed_without_labels_of_the_target(
    run, configured, tmp_path, monkeypatch
):
    """Every parameter and record is that of the run that went through and had attribute labels
    of the target, for evaluation.
    """
    original, count = train.Run._account, 0
    config = configured()
    config.data.target_options = {'attributes': False, 'expected': False}

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == 22:  # of 24 steps, 8 of them step II's, in which a checkpoint comes every 4
            raise Killed
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, '_account', dies)
        with pytest.raises(Killed):
            train.train(config, tmp_path)
    train.train(config, tmp_path)
    for a, b in zip(
        jax.tree.leaves(restored(run)), jax.tree.leaves(restored(tmp_path)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert (run / 'metrics.jsonl').read_bytes() == (tmp_path / 'metrics.jsonl').read_bytes()


@pytest.mark.parametrize('variant', ['tjaidl-independent', 'tjaidl-joint', 'tjaidl-id-only'])
def test_forms_without_adaptation_run(variant, configured, tmp_path):
    config = configured(variant)
    config.evaluation.adabn = False
    summary = train.train(config, tmp_path)
    assert 'adapted' not in summary
    assert ('attributes' in summary['source_only']) == (variant != 'tjaidl-id-only')


def test_step_two_from_a_run_of_step_one(step_one, run, configured, tmp_path):
    """What the ten splits of VIPeR and PRID2011 share is trained once."""
    config = configured(identity_iterations=0, joint_iterations=0)
    config.init.run = str(step_one)
    summary = train.train(config, tmp_path)
    assert 'source_only' not in summary
    for name in ('labels/soft_attributes_000.csv',):
        assert (run / name).read_bytes() == (tmp_path / name).read_bytes()
    before, after = restored(step_one)['params'], restored(tmp_path)['params']
    for a, b in zip(
        jax.tree.leaves(before['identity_branch']),
        jax.tree.leaves(after['identity_branch']),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert any(
        (a != b).any()
        for a, b in zip(
            jax.tree.leaves(before['attribute_branch']),
            jax.tree.leaves(after['attribute_branch']),
            strict=True,
        )
    )


def test_every_setting_has_its_default():
    assert set(variants.method_settings('tjaidl')) - {'name'} == {
        field.name for field in dataclasses.fields(tjaidl.Settings)
    }
