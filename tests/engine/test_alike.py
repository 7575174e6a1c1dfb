"""What a system's functions give back is compared with what they were given, leaf by leaf."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from preparing import prepared

from jreid.engine import accumulation, state, steps
from jreid.engine.alike import as_arrays, check_alike, check_same
from jreid.methods.common import plans
from jreid.methods.contract import Context, Phase, Refreshed, State
from jreid.training.preflight import check_refreshed

OPTIMIZER = optax.sgd(0.1)
READY = prepared(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), pad=1, erase_probability=0.0)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 2, 1, 3), np.uint8)


def begun():
    """Statistics of two domains, and a memory of a bank and a counter."""
    statistics = {name: {'mean': jnp.zeros(5)} for name in ('source', 'target')}
    return State(statistics, {'bank': jnp.zeros((4, 3)), 'updates': jnp.zeros((), jnp.int32)})


# -- trees -------------------------------------------------------------------------------------


def test_trees_that_are_alike_pass_also_while_traced():
    def alike(tree):
        check_alike(tree, begun(), name='state', source='a test')
        return tree

    assert alike(begun()).statistics.keys() == {'source', 'target'}
    assert isinstance(alike(jax.tree.map(np.asarray, begun())).memory['bank'], np.ndarray)
    assert jax.eval_shape(alike, begun()).memory['bank'].shape == (4, 3)


@pytest.mark.parametrize(
    ('tree', 'message'),
    [
        ({'a': jnp.zeros(3), 'b': (jnp.zeros(2),)}, r'gave t/a as float32 \(3,\); .* float32 \(2'),
        ({'a': jnp.zeros(2, int), 'b': (jnp.zeros(2),)}, r'gave t/a as int32 \(2,\); expected flo'),
        ({'a': jnp.zeros(2)}, r'gave t/b/0 as nothing; expected float32 \(2,\):'),
        ({'a': jnp.zeros(2), 'b': (jnp.zeros(2), 1.0)}, r't/b/1 as float64 \(\); expected nothing'),
        ({'c': jnp.zeros(2)}, r'gave t/a as nothing; .* \(and 2 more leaves differ\): keep the'),
        (
            {'a': jnp.zeros(2), 'b': [jnp.zeros(2)]},
            r'gave t in other containers, .*\[\*\].*\(\*,\)',
        ),
    ],
)
def test_differing_leaf_is_named(tree, message):
    template = {'a': jnp.zeros(2), 'b': (jnp.zeros(2),)}
    with pytest.raises(ValueError, match=message):
        check_alike(tree, template, name='t', source='a test')


def test_same_means_the_very_arrays():
    own = {'a': jnp.zeros(2), 'b': jnp.zeros(2)}
    check_same({**own}, own, name='t', source='a test', instead='do not')
    for other, names in (
        ({**own, 'a': own['b']}, 't/a'),
        ({'a': own['a']}, 't/b'),
        ({**own, 'c': own['a']}, 't/c'),
    ):
        with pytest.raises(ValueError, match=rf'^t was replaced in a test \({names}\); do not$'):
            check_same(other, own, name='t', source='a test', instead='do not')


def test_numbers_of_python_become_arrays_in_jax_types():
    keys = jax.random.key(0)
    arrays = as_arrays({'f': 1.0, 'i': 2, 'n': np.float64(3), 'k': keys})
    assert {name: str(arrays[name].dtype) for name in 'fin'} == {
        'f': 'float32',
        'i': 'int32',
        'n': 'float32',
    }
    assert arrays['k'] is keys


# -- forward passes ----------------------------------------------------------------------------


def forward(params, state, batch, context):
    statistics = {
        name: {'mean': 0.9 * own['mean'] + params['w']} for name, own in state.statistics.items()
    }
    images = len(batch['source']['identity'])
    outputs = {'source': {'w': jnp.tile(params['w'], (images, 1))}}
    return outputs, state._replace(statistics=statistics)


def evaluate(change, parts=1):
    def changed(params, state, batch, context):
        outputs, new = forward(params, state, batch, context)
        return outputs, change(new)

    terms = {'square': lambda outputs, *_: jnp.sum(outputs['source']['w'] ** 2)}
    batch = {'source': {'identity': jnp.arange(4)}}
    arguments = (changed, terms, {}, {'w': jnp.ones(5)}, begun(), batch)
    context = Context(jax.random.key(0), jnp.float32(0))
    return jax.eval_shape(
        lambda: accumulation.value_and_gradient(*arguments, context, parts=parts).state
    )


def with_target(new, target):
    return new._replace(statistics={**new.statistics, 'target': target})


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda new: new._replace(statistics={'source': new.statistics['source']}),
            r'the forward pass gave state.statistics/target/mean as nothing; expected float32',
        ),
        (
            lambda new: with_target(new, {'mean': jnp.zeros(6)}),
            r'gave state.statistics/target/mean as float32 \(6,\); expected float32 \(5,\)',
        ),
        (
            lambda new: with_target(new, {'mean': jnp.zeros(5, jnp.bfloat16)}),
            r'gave state.statistics/target/mean as bfloat16 \(5,\); expected float32 \(5,\)',
        ),
        (
            lambda new: with_target(new, {**new.statistics['target'], 'count': 1}),
            r'gave state.statistics/target/count as int32 \(\); expected nothing',
        ),
        (
            lambda new: new._replace(memory={**new.memory, 'bank': new.memory['bank'] + 0}),
            r'state.memory was replaced in the forward pass \(state.memory/bank\); return'
            r' state._replace\(statistics=...\) there, and move memory in Phase.after_update',
        ),
        (
            lambda new: new._replace(memory={'bank': new.memory['bank']}),
            r'state.memory was replaced in the forward pass \(state.memory/updates\)',
        ),
    ],
)
def test_state_of_a_forward_pass_is_checked(change, message, parts):
    kept = evaluate(lambda new: new, parts)
    check_alike(kept, begun(), name='state', source='a test')
    with pytest.raises(ValueError, match=message):
        evaluate(change, parts)


# -- after_update ------------------------------------------------------------------------------


def step_of(after_update):
    phase = Phase(
        name='test',
        epochs=1,
        streams={'source': plans.pxk('source', 2, 2)},
        forward=forward,
        terms={'square': lambda outputs, *_: jnp.sum(outputs['source']['w'] ** 2)},
        optimizer=lambda steps: OPTIMIZER,
        after_update=after_update,
    )
    return steps.train_step(phase, OPTIMIZER, READY, start=0, steps=10)


def arguments_of_a_step():
    batch = {'source': {'image': jnp.asarray(IMAGES), 'identity': jnp.arange(4)}}
    return state.create({'w': jnp.ones(5)}, begun(), OPTIMIZER), batch, jax.random.key(0)


def moving(**changes):
    return lambda params, state, outputs, batch: state._replace(
        memory={**state.memory, **{name: change(state) for name, change in changes.items()}}
    )


@pytest.mark.parametrize(
    ('after_update', 'message'),
    [
        (
            moving(bank=lambda state: jnp.concatenate([state.memory['bank']] * 2)),
            r'Phase.after_update gave state.memory/bank as float32 \(8, 3\); expected float32'
            r' \(4, 3\): keep the shapes that Method.init gave',
        ),
        (
            moving(updates=lambda state: state.memory['updates'] + 1.0),
            r'gave state.memory/updates as float32 \(\); expected int32 \(\)',
        ),
        (
            lambda params, state, outputs, batch: state._replace(
                memory={'bank': state.memory['bank']}
            ),
            r'gave state.memory/updates as nothing; expected int32 \(\)',
        ),
        (
            moving(teacher=lambda state: jnp.zeros(5)),
            r'gave state.memory/teacher as float32 \(5,\); expected nothing',
        ),
        (
            lambda params, state, outputs, batch: state._replace(
                statistics={**state.statistics, 'target': {'mean': params['w']}}
            ),
            r'state.statistics was replaced in Phase.after_update \(state.statistics/target/mean\);'
            r' return state._replace\(memory=...\) there; statistics move in Phase.forward',
        ),
    ],
)
def test_state_of_after_update_is_checked(after_update, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(step_of(after_update).run, *arguments_of_a_step())


def test_memory_of_numbers_of_python_compiles_once():
    step = step_of(moving(updates=lambda state: 3))
    now, batch, key = arguments_of_a_step()
    for _ in range(2):
        now, _ = step.run(now, batch, key)
    assert int(now.state.memory['updates']) == 3
    assert step.run._cache_size() == 1


# -- refreshes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('shape', 'columns', 'message'),
    [
        ((6,), 1, None),
        ((6, 2), 2, None),
        ((6, 2), 1, r'labels of shape \(6, 2\); expected \(6,\), as Method.label_columns is 1'),
        ((6, 1), 1, r'labels of shape \(6, 1\); expected \(6,\), as Method.label_columns is 1'),
        ((6,), 2, r'labels of shape \(6,\); expected \(6, 2\), as Method.label_columns is 2'),
        ((6, 3), 2, r'labels of shape \(6, 3\); expected \(6, 2\), as Method.label_columns is 2'),
        ((5,), 1, r'labels int32 \(5,\); expected integers, one row for each of 6 target images'),
    ],
)
def test_labels_of_a_refresh_have_the_columns_of_the_method(shape, columns, message):
    refreshed = Refreshed(np.zeros(shape, np.int32), {}, begun(), {})

    def check(refreshed):
        check_refreshed(refreshed, {}, begun(), images=6, columns=columns)

    if message is None:
        check(refreshed)
    else:
        with pytest.raises(ValueError, match=message):
            check(refreshed)


def test_parameters_of_a_refresh_are_those_it_was_given():
    refreshed = Refreshed(np.zeros(6, np.int32), {'w': jnp.zeros(2)}, begun(), {})
    with pytest.raises(ValueError, match='a refresh gave params/w as float32'):
        check_refreshed(refreshed, {}, begun(), images=6, columns=1)
