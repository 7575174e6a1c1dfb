"""Gradient accumulation: equal to the plain step for means over images, a part's statistics and
pairs for what looks at several, refused where it cannot.
"""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jreid.data import Index
from jreid.engine import accumulation, state, steps
from jreid.engine.feeds import Feed
from jreid.losses import batch_hard_triplet, cross_entropy
from jreid.methods.contract import Method, Phase, Stream
from jreid.training import loop as trainer
from jreid.training import preflight

RNG = np.random.default_rng(0)
WEIGHTS = {'w': jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)}
BATCH = {
    'source': {
        'image': jnp.asarray(RNG.normal(size=(8, 6)), jnp.float32),
        'identity': jnp.asarray(np.arange(8) // 2),
    }
}


def classification(params, model_state, batch, key, progress, extra):
    part = batch['source']
    loss = cross_entropy(part['image'] @ params['w'], part['identity'])
    return loss, (
        model_state,
        {'classification': loss, 'first': part['identity'][0].astype(jnp.float32)},
    )


def matching(params, model_state, batch, key, progress, extra):
    part = batch['source']
    return batch_hard_triplet(part['image'] @ params['w'], part['identity'], margin=0.3), (
        model_state,
        {},
    )


def normalised(params, model_state, batch, key, progress, extra):
    x = batch['source']['image'] @ params['w']
    moved = {'mean': 0.9 * model_state['mean'] + 0.1 * x.mean(0)}
    return jnp.mean(jnp.square(x - x.mean(0))), (moved, {})


def run(objective, parts, model_state=None):
    given = (objective, WEIGHTS, model_state or {}, BATCH, jax.random.key(0), jnp.float32(0), {})
    return jax.jit(lambda: accumulation.value_and_gradient(*given, parts=parts))()


@pytest.mark.parametrize('parts', [2, 4])
def test_mean_over_images_has_the_value_and_gradient_of_the_whole_batch(parts):
    (whole, (_, told)), gradient = run(classification, 1)
    (value, (_, metrics)), accumulated = run(classification, parts)
    np.testing.assert_allclose(value, whole, rtol=1e-6)
    np.testing.assert_allclose(metrics['classification'], told['classification'], rtol=1e-6)
    np.testing.assert_allclose(accumulated['w'], gradient['w'], rtol=1e-5, atol=1e-7)


def test_parts_are_neighbours_so_the_images_of_an_identity_stay_together():
    assert float(run(classification, 2)[0][1][1]['first']) == (0 + 2) / 2
    assert float(run(classification, 4)[0][1][1]['first']) == (0 + 1 + 2 + 3) / 4


def test_batch_hard_mines_within_a_part():
    x, labels = BATCH['source']['image'] @ WEIGHTS['w'], BATCH['source']['identity']
    halves = [
        batch_hard_triplet(x[rows], labels[rows], margin=0.3) for rows in (slice(4), slice(4, 8))
    ]
    np.testing.assert_allclose(run(matching, 2)[0][0], np.mean(halves), rtol=1e-5)
    # fewer negatives to choose from
    assert float(np.mean(halves)) < float(batch_hard_triplet(x, labels, margin=0.3))


def test_statistics_are_a_parts_and_move_once_a_part():
    x = np.asarray(BATCH['source']['image'] @ WEIGHTS['w'])
    (value, (moved, _)), _ = run(normalised, 2, {'mean': jnp.zeros(5)})
    np.testing.assert_allclose(
        moved['mean'], 0.9 * 0.1 * x[:4].mean(0) + 0.1 * x[4:].mean(0), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        value, np.mean([x[:4].var(0).mean(), x[4:].var(0).mean()]), rtol=1e-5
    )


def test_step_with_parts_moves_the_parameters_as_the_plain_step():
    """Images are augmented before they are split, so both draw the same."""
    images = np.random.default_rng(1).integers(0, 256, (8, 2, 1, 3), np.uint8)

    def objective(params, model_state, batch, key, progress, extra):
        part = batch['source']
        loss = cross_entropy(part['image'].reshape(-1, 6) @ params['w'], part['identity'])
        return loss, (model_state, {'progress': progress})

    phase = Phase('test', 1, {'source': Stream('source', 'pxk', 8, 2)}, objective)
    ready = steps.Preparation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), pad=1)
    ends = []
    for parts in (1, 2):
        optimizer = optax.adam(0.1)
        step = steps.train_step(phase, optimizer, ready, start=0, steps=10, parts=parts)
        now = state.create(jax.tree.map(jnp.copy, WEIGHTS), {}, {}, optimizer)
        for _ in range(3):
            now, told = step(
                now,
                {'source': {'image': jnp.asarray(images), 'identity': BATCH['source']['identity']}},
                jax.random.key(0),
            )
        ends.append((now.params['w'], told['loss'], told['gradient_norm'], told['progress']))
    for plain, accumulated in zip(*ends, strict=True):
        np.testing.assert_allclose(accumulated, plain, rtol=1e-4, atol=1e-6)


DEVICES = """
    import jax, numpy as np, sys
    sys.path[:0] = ['tests']
    import test_accumulation as t
    from jreid.engine import accumulation
    from jreid.engine import sharding
    import jax.numpy as jnp
    for objective in (t.classification, t.matching):
        found = []
        for devices in (1, 4):
            mesh = jax.make_mesh((devices,), ('data',), devices=jax.devices()[:devices], axis_types=(jax.sharding.AxisType.Auto,))
            batch, params = sharding.spread(mesh, t.BATCH), sharding.replicate(mesh, t.WEIGHTS)
            step = jax.jit(lambda b, p: accumulation.value_and_gradient(objective, p, {}, b, jax.random.key(0), 0.0, {}, parts=2, mesh=mesh))
            (value, _), gradient = step(batch, params)
            found.append((np.asarray(value), np.asarray(gradient['w'])))
        for one, four in zip(*found):
            np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-7)
    print('equal', jax.device_count())
"""


def test_four_devices_accumulate_as_one():
    import os
    import pathlib

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


# -- what cannot be run
# -----------------------------------------------------------------------------------------------------------------------------


def phases(**changes):
    stream = Stream(
        **{'domain': 'source', 'sampler': 'pxk', 'batch': 16, 'instances': 4, **changes}
    )
    return Method(
        name='test',
        phases=(Phase('warm', 1, {'faces': stream}, classification),),
        init=lambda key: ({}, {}, {}),
        embed=lambda *a: None,
    )


@pytest.mark.parametrize(
    ('changes', 'parts', 'devices', 'message'),
    [
        (
            {'batch': 36},
            1,
            1,
            (
                r"phase 'warm', stream 'faces': a batch of P = 9 identities cannot be drawn from"
                r' the 8 of the source'
            ),
        ),
        (
            {},
            3,
            1,
            (
                r'a batch of 16 images does not divide into 3 parts \(train.accumulate\) over 1'
                r' devices; choose a multiple of 3'
            ),
        ),
        ({}, 1, 3, 'does not divide into 1 parts .* over 3 devices'),
        (
            {},
            4,
            1,
            (
                r'4 groups of 4 images \(P identities of K, say\) do not divide into 4 parts .* of'
                r' 2 or more; choose a multiple of 4, at least 8'
            ),
        ),
        ({'batch': 24}, 4, 1, '6 groups of 4 images .* do not divide into 4 parts'),
    ],
)
def test_batches_that_cannot_be_drawn_or_divided_are_told_before_the_first_step(
    changes, parts, devices, message
):
    paths = np.array([f'/{i}.jpg' for i in range(18)])
    feeds = {
        'source': Feed(
            Index(paths, np.append(np.arange(16) // 2, [-1, -1]), np.zeros(18, int)),
            lambda plan: iter(()),
            lambda: paths,
        )
    }
    preflight.check_phases(phases(), feeds, parts=1, devices=4)
    preflight.check_phases(phases(), feeds, parts=2, devices=2)
    preflight.check_phases(phases(sampler='plain', instances=1), feeds, parts=4, devices=4)
    with pytest.raises(ValueError, match=message):
        preflight.check_phases(phases(**changes), feeds, parts=parts, devices=devices)


def test_run_with_accumulation_trains_and_one_that_cannot_stops_at_once(tiny_config, tmp_path):
    config = tiny_config('source-only', source_epochs=2)
    config.train.accumulate = 2
    trainer.train(config, tmp_path / 'two')
    import json

    records = [
        json.loads(line) for line in (tmp_path / 'two' / 'metrics.jsonl').read_text().splitlines()
    ]
    losses = [record['classification'] for record in records if record['kind'] == 'train']
    assert losses[-1] < losses[0]
    for value, message in (
        (4, '4 groups of 4 images .* do not divide into 4 parts'),
        (0, 'train.accumulate is 0; expected 1 or more'),
    ):
        config.train.accumulate = value
        with pytest.raises(ValueError, match=message):
            trainer.train(config, tmp_path / f'refused{value}')
    config.train.accumulate, config.train.compute_dtype = 1, 'float16'
    with pytest.raises(
        ValueError, match="train.compute_dtype is 'float16'; expected 'float32' or 'bfloat16'"
    ):
        trainer.train(config, tmp_path / 'half')
