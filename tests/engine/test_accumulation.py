"""Gradient accumulation equals the plain step for means over images, and says what it cannot do.

A part has its own statistics and pairs; banks and EMA move once per update.
"""

import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from preparing import prepared

from jreid.data import Index
from jreid.engine import accumulation, state, steps
from jreid.engine.feeds import Feed
from jreid.losses import batch_hard_triplet, cross_entropy
from jreid.methods.common import plans
from jreid.methods.contract import Context, Method, Phase, State
from jreid.training import preflight

RNG = np.random.default_rng(0)
WEIGHTS = {'w': jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)}
BATCH = {
    'source': {
        'image': jnp.asarray(RNG.normal(size=(8, 6)), jnp.float32),
        'identity': jnp.asarray(np.arange(8) // 2),
    }
}


def forward(params, state, batch, context):
    """Features, and running means where the state has some."""
    features = batch['source']['image'].reshape(-1, 6) @ params['w']
    moved = {k: 0.9 * mean + 0.1 * features.mean(0) for k, mean in state.statistics.items()}
    return {'source': {'feature': features}}, State(moved, state.memory)


def classification(outputs, batch, state, context):
    return cross_entropy(outputs['source']['feature'], batch['source']['identity'])


def matching(outputs, batch, state, context):
    features, identity = outputs['source']['feature'], batch['source']['identity']
    return batch_hard_triplet(features, identity, margin=0.3)


def variance(outputs, batch, state, context):
    x = outputs['source']['feature']
    return jnp.mean(jnp.square(x - x.mean(0)))


def first(outputs, batch, state, context):
    return batch['source']['identity'][0].astype(jnp.float32)


def run(term, parts, statistics=None, **options):
    context = Context(jax.random.key(0), jnp.float32(0))
    begun = State(statistics or {}, {})
    arguments = (forward, {'term': term}, {'first': first}, WEIGHTS, begun, BATCH, context)
    return jax.jit(lambda: accumulation.value_and_gradient(*arguments, parts=parts, **options))()


@pytest.mark.parametrize('parts', [2, 4])
def test_mean_over_images_has_the_value_and_gradient_of_the_whole_batch(parts):
    whole, accumulated = run(classification, 1), run(classification, parts)
    np.testing.assert_allclose(accumulated.loss, whole.loss, rtol=1e-6)
    np.testing.assert_allclose(accumulated.scalars['term'], whole.scalars['term'], rtol=1e-6)
    np.testing.assert_allclose(
        accumulated.gradients['w'], whole.gradients['w'], rtol=1e-5, atol=1e-7
    )
    # Outputs are of the whole batch, in its order.
    feature = accumulated.outputs['source']['feature']
    np.testing.assert_allclose(feature, whole.outputs['source']['feature'], rtol=1e-5)


def test_parts_are_neighbours_so_the_images_of_an_identity_stay_together():
    assert float(run(classification, 2).scalars['first']) == (0 + 2) / 2
    assert float(run(classification, 4).scalars['first']) == (0 + 1 + 2 + 3) / 4


@pytest.mark.slow
def test_batch_hard_mines_within_a_part():
    x, labels = BATCH['source']['image'] @ WEIGHTS['w'], BATCH['source']['identity']
    halves = [
        batch_hard_triplet(x[rows], labels[rows], margin=0.3) for rows in (slice(4), slice(4, 8))
    ]
    np.testing.assert_allclose(run(matching, 2).loss, np.mean(halves), rtol=1e-5)
    # fewer negatives to choose from
    assert float(np.mean(halves)) < float(batch_hard_triplet(x, labels, margin=0.3))


def test_statistics_are_a_parts_and_move_once_per_part():
    x = np.asarray(BATCH['source']['image'] @ WEIGHTS['w'])
    result = run(variance, 2, {'mean': jnp.zeros(5)})
    np.testing.assert_allclose(
        result.state.statistics['mean'],
        0.9 * 0.1 * x[:4].mean(0) + 0.1 * x[4:].mean(0),
        rtol=1e-5,
        atol=1e-7,
    )
    np.testing.assert_allclose(
        result.loss, np.mean([x[:4].var(0).mean(), x[4:].var(0).mean()]), rtol=1e-5
    )


def test_step_with_parts_moves_parameters_banks_and_ema_as_the_plain_step():
    """Images are augmented before they are split, so both draw the same, also in two views."""
    images = np.random.default_rng(1).integers(0, 256, (8, 2, 1, 3), np.uint8)

    def first_view(params, state, batch, context):
        source = {**batch['source'], 'image': batch['source']['image'][0]}
        return forward(params, state, {'source': source}, context)

    def after_update(params, state, outputs, batch):
        bank = 0.5 * state.memory['bank'] + 0.5 * outputs['source']['feature'].mean(0)
        ema = 0.9 * state.memory['ema'] + 0.1 * params['w']
        assert batch['source']['image'].shape == (2, 8, 2, 1, 3)
        return state._replace(
            memory={'bank': bank, 'ema': ema, 'updates': state.memory['updates'] + 1}
        )

    phase = Phase(
        name='test',
        epochs=1,
        streams={'source': plans.pxk('source', 4, 2, views=2)},
        forward=first_view,
        terms={'classification': classification},
        metrics={'progress': lambda outputs, batch, state, context: context.progress},
        optimizer=lambda steps: optax.adam(0.1),
        after_update=after_update,
    )
    ready = prepared(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), pad=1, erase_probability=0.0)
    ends = []
    for parts in (1, 2):
        optimizer = phase.optimizer(10)
        step = steps.train_step(phase, optimizer, ready, start=0, steps=10, parts=parts)
        memory = {'bank': jnp.ones(5), 'ema': jnp.zeros((6, 5)), 'updates': jnp.array(0)}
        params = jax.tree.map(jnp.copy, WEIGHTS)
        now = state.create(params, State({}, memory), optimizer)
        batch = {'source': {**BATCH['source'], 'image': jnp.asarray(images)}}
        for _ in range(3):
            now, values = step.run(now, batch, jax.random.key(0))
        assert int(now.state.memory['updates']) == 3
        ends.append((now.params, now.state.memory, step.scalars(values)))
    plain, accumulated = ends
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6), plain, accumulated
    )


DEVICES = """
    import jax, numpy as np, sys
    sys.path[:0] = ['tests', 'tests/engine']
    import test_accumulation as t
    from jreid.engine import accumulation, sharding
    from jreid.methods.contract import Context, State
    for term in (t.classification, t.matching):
        results = []
        for devices in (1, 4):
            axes = (jax.sharding.AxisType.Auto,)
            chosen = jax.devices()[:devices]
            mesh = jax.make_mesh((devices,), ('data',), devices=chosen, axis_types=axes)
            batch, params = sharding.spread(mesh, t.BATCH), sharding.replicate(mesh, t.WEIGHTS)
            step = jax.jit(lambda b, p: accumulation.value_and_gradient(
                t.forward, {'term': term}, {}, p, State({}, {}), b,
                Context(jax.random.key(0), 0.0), parts=2, mesh=mesh))
            result = step(batch, params)
            results.append((np.asarray(result.loss), np.asarray(result.gradients['w'])))
        for one, four in zip(*results):
            np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-7)
    print('equal', jax.device_count())
"""


@pytest.mark.slow
def test_four_devices_accumulate_as_one():
    root = pathlib.Path(__file__).resolve().parents[2]
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=4'
    environment = {
        **os.environ,
        'PYTHONPATH': str(root),
        'XLA_FLAGS': flags,
        'JAX_PLATFORMS': 'cpu',
    }
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(DEVICES)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=root,
    )
    assert done.stdout.strip() == 'equal 4', done.stderr[-3000:]


# -- what cannot be run ------------------------------------------------------------------------


def system(stream):
    phase = Phase(
        name='warm',
        epochs=1,
        streams={'faces': stream},
        forward=forward,
        terms={'term': classification},
        optimizer=lambda steps: optax.sgd(0.1),
    )
    return Method(
        name='test',
        phases=(phase,),
        init=lambda key: ({}, State({}, {})),
        embed=lambda *_: None,
    )


PAIRS = plans.pxk('source', 4, 4)


@pytest.mark.parametrize(
    ('stream', 'parts', 'devices', 'message'),
    [
        (
            plans.pxk('source', 9, 4),
            1,
            1,
            r"phase 'warm', stream 'faces': identities_per_batch is 9, but .* show 8 known",
        ),
        (
            PAIRS,
            3,
            1,
            r'a batch of 16 images does not divide into 3 parts \(train.accumulate\) over 1'
            r' devices; choose a multiple of 3',
        ),
        (PAIRS, 1, 3, 'does not divide into 1 parts .* over 3 devices'),
        (
            PAIRS,
            4,
            1,
            r'4 groups of 4 images \(P identities of K, say\) do not divide into 4 parts .* of'
            r' 2 or more; choose a multiple of 4, at least 8',
        ),
        (plans.pxk('source', 6, 4), 4, 1, '6 groups of 4 images .* do not divide into 4 parts'),
    ],
)
def test_batches_that_cannot_be_drawn_or_divided_are_refused_before_the_first_step(
    stream, parts, devices, message
):
    paths = np.array([f'/{i}.jpg' for i in range(18)])
    identity = np.append(np.arange(16) // 2, [-1, -1])
    images = Index(paths, identity, np.zeros(18, int))
    feeds = {'source': Feed(images, lambda plan: iter(()), lambda: paths)}
    preflight.check_phases(system(PAIRS), feeds, parts=1, devices=4)
    preflight.check_phases(system(PAIRS), feeds, parts=2, devices=2)
    preflight.check_phases(system(plans.plain('source', 16)), feeds, parts=4, devices=4)
    with pytest.raises(ValueError, match=message):
        preflight.check_phases(system(stream), feeds, parts=parts, devices=devices)
