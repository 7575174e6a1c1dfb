"""Steps: keys, augmentation per stream, views, progress, memory, and one compiled program each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from preparing import prepared

from jreid.engine import state, steps
from jreid.engine.functions import Functions
from jreid.methods.common import plans
from jreid.methods.contract import Method, Phase, State
from jreid.models import BACKBONES

READY = prepared(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), pad=2, erase_probability=0.0)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 4, 3), dtype=np.uint8)
PLAIN = (IMAGES / 255 - np.array(READY.mean)) / np.array(READY.std)
OPTIMIZER = optax.sgd(0.1)


def forward(params, state, batch, context):
    calls = {'calls': state.statistics['calls'] + 1}
    return {name: {'image': part['image'] * 1.0} for name, part in batch.items()}, State(
        calls, state.memory
    )


def square(outputs, batch, state, context):
    return jnp.float32(0)


def scalars():
    """Logs what a term may read."""
    found = {
        'progress': lambda outputs, batch, state, context: context.progress,
        'draw': lambda outputs, batch, state, context: jax.random.uniform(context.key),
        'number': lambda outputs, batch, state, context: state.memory['number'],
    }
    for name in ('source', 'target'):
        found[f'{name}_sum'] = lambda outputs, *_, name=name: outputs[name]['image'].sum()
        found[f'{name}_first'] = lambda outputs, *_, name=name: outputs[name]['image'].ravel()[0]
    return found


def phase(*, augment=False, views=1, **changes):
    streams = {
        'source': plans.pxk('source', 2, 2, augment=augment, views=views),
        'target': plans.plain('target', 4, augment=False),
    }

    def loss_forward(params, state, batch, context):
        outputs, new = forward(params, state, batch, context)
        return {**outputs, 'all': {'w': params['w']}}, new

    record = Phase(
        name='test',
        epochs=1,
        streams=streams,
        forward=loss_forward,
        terms={'square': lambda outputs, *_: outputs['all']['w'] ** 2},
        metrics=scalars(),
        optimizer=lambda steps: OPTIMIZER,
    )
    return dataclasses.replace(record, **changes)


def fresh(*, at=0):
    begun = State({'calls': jnp.array(0)}, {'number': jnp.array(7.0)})
    return state.create({'w': jnp.array(3.0)}, begun, OPTIMIZER, step=at)


def batch(images=IMAGES):
    return {
        name: {'image': jnp.asarray(images), 'row': jnp.arange(4)} for name in ('source', 'target')
    }


def take(record, *, at=0, seed=0, **options):
    step = steps.train_step(record, OPTIMIZER, READY, **{'start': 0, 'steps': 10, **options})
    new, values = step.run(fresh(at=at), batch(), jax.random.key(seed))
    return new, step.scalars(values)


def test_step_moves_parameters_statistics_and_number():
    new, logged = take(phase())
    np.testing.assert_allclose(new.params['w'], 3 - 0.1 * 6, rtol=1e-6)
    assert (int(new.step), int(new.state.statistics['calls'])) == (1, 1)
    assert (logged['loss'], logged['square'], logged['gradient_norm']) == (9, 9, 6)
    assert (float(new.state.memory['number']), logged['number']) == (7, 7)


def test_terms_are_summed_and_logged_and_metrics_are_logged_only():
    double = {'double': lambda outputs, *_: 2 * outputs['all']['w']}
    new, logged = take(phase(terms={**phase().terms, **double}))
    assert (logged['loss'], logged['square'], logged['double']) == (15, 9, 6)
    np.testing.assert_allclose(new.params['w'], 3 - 0.1 * (6 + 2), rtol=1e-6)
    names = steps.train_step(phase(), OPTIMIZER, READY, start=0, steps=1).names
    assert names == ('loss', 'square', *scalars(), 'gradient_norm')
    with pytest.raises(ValueError, match="phase 'test' logs square twice"):
        take(phase(metrics={'square': square}))
    with pytest.raises(ValueError, match=r"term 'wide' has shape \(4,\); expected a scalar"):
        take(phase(terms={'wide': lambda outputs, *_: outputs['source']['image'][:, 0, 0, 0]}))


def test_memory_moves_after_the_update_from_outputs_and_new_parameters():
    def after_update(params, state, outputs, batch):
        seen = outputs['target']['image'].sum() + 100 * params['w']
        return state._replace(memory={'number': seen})

    new, logged = take(phase(after_update=after_update))
    expected = PLAIN.sum() + 100 * (3 - 0.1 * 6)
    np.testing.assert_allclose(new.state.memory['number'], expected, rtol=1e-5)
    assert logged['number'] == 7  # terms see the memory that the step began with

    def moves_memory(params, state, batch, context):
        outputs, new = phase().forward(params, state, batch, context)
        return outputs, new._replace(memory={'number': state.memory['number'] + 1})

    with pytest.raises(
        ValueError,
        match=r'state.memory was replaced in the forward pass \(state.memory/number\); return',
    ):
        take(phase(forward=moves_memory))


def test_no_gradient_flows_through_outputs_that_the_memory_keeps():
    def after_update(params, state, outputs, batch):
        return state._replace(memory={'number': outputs['all']['w'] ** 3})

    new, _ = take(phase(after_update=after_update))
    np.testing.assert_allclose(new.params['w'], 3 - 0.1 * 6, rtol=1e-6)
    np.testing.assert_allclose(new.state.memory['number'], 27, rtol=1e-6)


def test_images_are_normalised_and_only_streams_that_ask_are_augmented():
    for augment in (False, True):
        _, logged = take(phase(augment=augment))
        np.testing.assert_allclose(logged['target_sum'], PLAIN.sum(), rtol=1e-4)
        np.testing.assert_allclose(logged['target_first'], PLAIN[0, 0, 0, 0], rtol=1e-4)
        assert (abs(logged['source_sum'] - PLAIN.sum()) < 1e-2) != augment


def test_views_of_an_image_are_augmented_independently():
    shape = {}

    def watch(outputs, *_):
        shape['source'] = outputs['source']['image'].shape
        first, second = outputs['source']['image']
        return jnp.abs(first - second).sum()

    _, logged = take(phase(augment=True, views=2, metrics={'difference': watch}))
    assert shape['source'] == (2, 4, 8, 4, 3)
    assert logged['difference'] > 1
    _, logged = take(phase(augment=False, views=2, metrics={'difference': watch}))
    assert logged['difference'] == 0


def test_pools_give_the_images_of_the_rows():
    step = steps.train_step(phase(), OPTIMIZER, READY, start=0, steps=10)
    rows = jnp.asarray([3, 1, 1, 0])
    given = {name: {'row': rows} for name in ('source', 'target')}
    pools = {name: jnp.asarray(IMAGES) for name in given}
    _, values = step.run(fresh(), given, jax.random.key(0), pools)
    np.testing.assert_allclose(
        step.scalars(values)['target_sum'], PLAIN[np.asarray(rows)].sum(), rtol=1e-4
    )


def test_step_depends_on_the_root_key_and_its_number_alone():
    """So a resumed run draws what the run that went through drew."""
    step = steps.train_step(phase(augment=True), OPTIMIZER, READY, start=0, steps=10)

    def drawn(at, seed=0):
        values = step.run(fresh(at=at), batch(), jax.random.key(seed))[1]
        return {name: step.scalars(values)[name] for name in ('draw', 'source_sum')}

    assert drawn(3) == drawn(3)
    for other in (drawn(4), drawn(3, seed=1)):
        assert other['draw'] != drawn(3)['draw']
        assert other['source_sum'] != drawn(3)['source_sum']
    assert step.run._cache_size() == 1


def test_progress_runs_over_the_phase():
    step = steps.train_step(phase(), OPTIMIZER, READY, start=20, steps=8)
    found = [
        step.scalars(step.run(fresh(at=at), batch(), jax.random.key(0))[1])['progress']
        for at in (20, 24, 27)
    ]
    assert found == [0.0, 0.5, 0.875]


# -- functions of a run ------------------------------------------------------------------------


def method(**changes):
    record = Method(
        name='test',
        phases=(),
        init=lambda key: ({}, State({}, {})),
        embed=lambda params, state, images, domain: (
            params['scale'] * images[:, :, 0].mean((1, 2))[:, None] + (domain == 'target')
        ),
        statistics=lambda params, state, images: {'mean': images.mean((0, 1, 2))},
        describe=lambda params, state, images, domain: {'feature': images.mean((1, 2))},
    )
    return dataclasses.replace(record, **changes)


PARAMS, EMPTY = {'scale': jnp.array(2.0)}, State({}, {})


def test_features_with_mirrored_images_are_the_mean_of_both():
    """The feature reads the left column, so the mirrored image's is the right one's."""
    left, right = (2 * PLAIN[:, :, column].mean((1, 2))[:, None] for column in (0, -1))
    plain, mirrored = Functions(method(), READY), Functions(method(), READY, mirror=True)
    for functions, domain, expected in (
        (plain, 'source', left),
        (plain, 'target', left + 1),
        (mirrored, 'source', (left + right) / 2),
    ):
        features = functions.embed(domain)(PARAMS, EMPTY, IMAGES)
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_descriptions_and_statistics_see_normalised_images():
    functions = Functions(method(), READY)
    described = functions.describe('source')(PARAMS, EMPTY, IMAGES)
    np.testing.assert_allclose(described['feature'], PLAIN.mean((1, 2)), rtol=1e-4, atol=1e-5)
    found = functions.statistics()(PARAMS, EMPTY, IMAGES)
    np.testing.assert_allclose(found['mean'], PLAIN.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_functions_are_made_once_and_compile_once_per_shape():
    functions = Functions(method(), READY)
    for _ in range(3):
        for domain in ('source', 'target'):
            functions.embed(domain)(PARAMS, EMPTY, IMAGES)
    functions.embed('target')(PARAMS, EMPTY, IMAGES[:2])
    assert functions.compiled() == {'embed:source': 1, 'embed:target': 2}
    with pytest.raises(ValueError, match="the system 'test' has no 'parsing'"):
        functions.parsing('source')


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
