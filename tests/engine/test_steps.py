"""Steps: keys, augmentation a stream, progress, donated state, and features with mirrored
images.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jreid.engine import state, steps
from jreid.methods.contract import Method, Phase, Stream
from jreid.models import BACKBONES

READY = steps.Preparation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), pad=2)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 4, 3), dtype=np.uint8)


def objective(params, model_state, batch, key, progress, extra):
    """Tells what it was given."""
    told = {'progress': progress, 'draw': jax.random.uniform(key), 'extra': extra['number']}
    told |= {
        f'{name}_{k}': v
        for name, part in batch.items()
        for k, v in (('sum', part['image'].sum()), ('first', part['image'][0, 0, 0, 0]))
    }
    return params['w'] ** 2, ({'calls': model_state['calls'] + 1}, told)


def phase(*, augment=False):
    streams = {
        'source': Stream('source', 'pxk', 4, 2, augment=augment),
        'target': Stream('target', 'plain', 4, augment=False),
    }
    return Phase('test', 1, streams, objective)


def fresh(optimizer, *, at=0):
    return state.create(
        {'w': jnp.array(3.0)},
        {'calls': jnp.array(0)},
        {'number': jnp.array(7.0)},
        optimizer,
        step=at,
    )


def batch(images=IMAGES):
    return {
        name: {'image': jnp.asarray(images), 'identity': jnp.arange(4)}
        for name in ('source', 'target')
    }


def test_step_moves_parameters_state_and_number():
    optimizer = optax.sgd(0.1)
    step = steps.train_step(phase(), optimizer, READY, start=0, steps=10)
    new, told = step(fresh(optimizer), batch(), jax.random.key(0))
    np.testing.assert_allclose(new.params['w'], 3 - 0.1 * 6, rtol=1e-6)
    assert (int(new.step), int(new.model_state['calls'])) == (1, 1)
    assert (float(told['loss']), float(told['gradient_norm']), float(told['extra'])) == (9, 6, 7)
    assert float(new.extra['number']) == 7


def test_images_are_normalised_and_only_streams_that_ask_are_augmented():
    optimizer = optax.sgd(0.1)
    plain = (IMAGES / 255 - np.array(READY.mean)) / np.array(READY.std)
    for augment in (False, True):
        step = steps.train_step(phase(augment=augment), optimizer, READY, start=0, steps=10)
        _, told = step(fresh(optimizer), batch(), jax.random.key(0))
        np.testing.assert_allclose(told['target_sum'], plain.sum(), rtol=1e-4)
        np.testing.assert_allclose(told['target_first'], plain[0, 0, 0, 0], rtol=1e-4)
        assert (abs(told['source_sum'] - plain.sum()) < 1e-2) != augment


def test_step_depends_on_the_root_key_and_its_number_alone():
    """So a resumed run draws what the run that went through drew."""
    optimizer = optax.sgd(0.1)
    step = steps.train_step(phase(augment=True), optimizer, READY, start=0, steps=10)

    def told(at, seed=0):
        values = step(fresh(optimizer, at=at), batch(), jax.random.key(seed))[1]
        return {name: float(values[name]) for name in ('draw', 'source_sum')}

    assert told(3) == told(3)
    for other in (told(4), told(3, seed=1)):
        assert other['draw'] != told(3)['draw']
        assert other['source_sum'] != told(3)['source_sum']


def test_progress_runs_over_the_phase():
    optimizer = optax.sgd(0.1)
    step = steps.train_step(phase(), optimizer, READY, start=20, steps=8)
    found = [
        float(step(fresh(optimizer, at=at), batch(), jax.random.key(0))[1]['progress'])
        for at in (20, 24, 27)
    ]
    assert found == [0.0, 0.5, 0.875]


def method(**changes):
    record = Method(
        name='test',
        phases=(),
        init=lambda key: ({}, {}, {}),
        embed=lambda variables, images, domain: (
            variables['scale'] * images[:, :, 0].mean((1, 2))[:, None] + (domain == 'target')
        ),
        statistics=lambda variables, images: {'mean': images.mean((0, 1, 2))},
        describe=lambda variables, images, domain: {'feature': images.mean((1, 2))},
    )
    return dataclasses.replace(record, **changes)


def test_features_with_mirrored_images_are_the_mean_of_both():
    """The feature reads the left column, so the mirrored image's is the right one's."""
    variables = {'scale': jnp.array(2.0)}
    plain = (IMAGES / 255 - np.array(READY.mean)) / np.array(READY.std)
    left, right = (2 * plain[:, :, column].mean((1, 2))[:, None] for column in (0, -1))
    np.testing.assert_allclose(
        steps.embed_step(method(), READY, 'source')(variables, IMAGES), left, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        steps.embed_step(method(), READY, 'target')(variables, IMAGES),
        left + 1,
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        steps.embed_step(method(), READY, 'source', mirror=True)(variables, IMAGES),
        (left + right) / 2,
        rtol=1e-4,
        atol=1e-5,
    )


def test_descriptions_and_statistics_see_normalised_images():
    plain = (IMAGES / 255 - np.array(READY.mean)) / np.array(READY.std)
    np.testing.assert_allclose(
        steps.describe_step(method(), READY, 'source')({}, IMAGES)['feature'],
        plain.mean((1, 2)),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        steps.statistics_step(method(), READY)({}, IMAGES)['mean'],
        plain.mean((0, 1, 2)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize('name', sorted(BACKBONES))
def test_input_of_every_backbone_is_scaled_as_its_record_says(name):
    from jreid.configs import base

    record = BACKBONES[name]
    ready = steps.preparation(record, base.get_config().augment)
    pixel = 200.0
    found = (pixel / 255 - np.array(ready.mean)) / np.array(ready.std)
    np.testing.assert_allclose(
        found, (pixel - np.array(record.mean)) / np.array(record.std), rtol=1e-6
    )
    assert ready.pad == base.get_config().augment.pad
