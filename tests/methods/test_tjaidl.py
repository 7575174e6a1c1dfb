"""Tests TJ-AIDL's losses, statistics, forms and settings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid import methods
from jreid.configs import variants
from jreid.engine.accumulation import value_and_gradient
from jreid.methods import tjaidl
from jreid.methods.contract import Context, Problem
from jreid.models import backbones

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
    optimizers = [phase.optimizer for phase in method_of().phases]
    assert [(o.name, o.b1, o.b2) for o in optimizers] == 3 * [('adam', 0.5, 0.999)]
    # Step II has a tenth of the paper's rate: docs/systems/tjaidl.md.
    assert [o.learning_rate for o in optimizers] == [0.002, 0.002, 0.0002]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'form': 'both'}, "method.form is 'both'"),
        ({'frozen_statistics': 'mean'}, "expected 'source' or 'target'"),
        ({'joint_iterations': 0}, 'nothing trains the attribute branch'),
        (
            {'adapt_iterations': 1500},
            r'adapt_iterations is 1,500, no multiple of method.epoch_iterations \(1,000\)',
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
    nobody = dataclasses.replace(problem, source_identities=0)
    with pytest.raises(ValueError, match='the source has 0 identities; expected at least 2'):
        methods.build(variants.method_settings('tjaidl-id-only'), module, nobody)


def test_every_setting_has_its_default():
    fields = {field.name for field in dataclasses.fields(tjaidl.Settings)}
    assert set(variants.method_settings('tjaidl')) - {'name'} == fields
