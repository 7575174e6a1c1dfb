"""What a system's functions return is checked, and an error names the function and what it had."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from preparing import prepared

from jreid.engine import accumulation, returns, state, steps
from jreid.methods.common import plans
from jreid.methods.contract import Context, Phase, State

STREAM = plans.pseudo('target', 4, 2)
BATCH = {
    'target': {'image': jnp.ones((8, 2, 2, 3)), 'label': jnp.arange(8) // 2, 'row': jnp.arange(8)}
}
PARAMS = {'w': jnp.ones(3)}
MEMORY = {'bank': jnp.zeros((4, 3)), 'teacher': {'w': jnp.ones(3)}}


def embedded(params, batch):
    return batch['target']['image'].mean((-3, -2)) * params['w']


def forward(params, state, batch, context):
    return {'target': {'feature': embedded(params, batch)}}, state


def term(outputs, batch, state, context):
    return jnp.mean(outputs['target']['feature'])


def evaluate(forward=forward, parts=1, batch=BATCH, stream=STREAM, **fields):
    """Traces, and neither compiles nor runs."""
    arguments = (forward, fields.get('terms', {'own': term}), fields.get('metrics', {}))
    context = Context(jax.random.key(0), jnp.float32(0))
    return jax.eval_shape(
        lambda params: accumulation.value_and_gradient(
            *arguments,
            params,
            State({}, MEMORY),
            batch,
            context,
            streams={'target': stream},
            parts=parts,
        )._replace(state=None),
        PARAMS,
    )


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (
            lambda outputs, batch, state, context: batch['target']['identity'].sum(),
            r"^term 'wrong' looked for 'identity', which is not there: batch has 'target' \(image,"
            r" label, row\); outputs has 'target' \(feature\); memory has 'bank', 'teacher' \(w\)"
            r"\. Streams of the source have 'identity' and those of the target 'label', the pseudo"
            r" label: the target's identities are never in a batch",
        ),
        (
            lambda outputs, batch, state, context: state.memory['bnk'].sum(),
            r"^term 'wrong' looked for 'bnk', which is not there: .* memory has .* \(w\)",
        ),
        (
            lambda outputs, *_: outputs['target']['feature'] @ jnp.ones(7),
            "^term 'wrong': .*7",
        ),
        (
            lambda outputs, *_: outputs['target']['feature'].mean(-1),
            r"^term 'wrong' has shape \([48],\); expected a scalar: take its mean",
        ),
        (
            lambda outputs, batch, *_: batch['target']['label'].sum(),
            r"^term 'wrong' is int32, which has no gradient; expected a floating-point scalar",
        ),
        (lambda *_: None, "^term 'wrong' returned nothing .None.; expected a scalar"),
        (lambda *_: {'a': 0.0}, "^term 'wrong' returned dict; expected a scalar"),
    ],
)
def test_term_is_named_with_what_it_looked_for(wrong, message, parts):
    with pytest.raises((ValueError, TypeError), match=message):
        evaluate(terms={'own': term, 'wrong': wrong}, parts=parts)


def test_metric_is_named_and_may_be_an_integer():
    count = {'count': lambda outputs, batch, *_: (batch['target']['label'] >= 0).sum()}
    assert evaluate(metrics=count).scalars['count'].shape == ()
    with pytest.raises(ValueError, match=r"metric 'wide' has shape \(8,\); expected a scalar"):
        evaluate(metrics={'wide': lambda outputs, batch, *_: batch['target']['label']})
    with pytest.raises(ValueError, match="metric 'none' looked for 'source', which is not there"):
        evaluate(metrics={'none': lambda outputs, *_: outputs['source']['feature'].mean()})


def test_other_errors_keep_their_kind_and_get_a_note():
    class OwnError(RuntimeError):
        pass

    with pytest.raises(OwnError) as caught, returns.naming("term 'triplet'"):
        raise OwnError('why')
    assert caught.value.__notes__ == ["in term 'triplet'"]


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (
            lambda params, state, batch, context: forward(params, state, batch, context)[0],
            r'^Phase.forward returned dict; expected \(outputs, state\)',
        ),
        (
            lambda params, state, batch, context: (embedded(params, batch), state),
            r'^Phase.forward returned \w+, State; expected \(outputs, state\)',
        ),
        (lambda *_: None, r'^Phase.forward returned nothing \(None\); expected \(outputs, state'),
        (
            lambda params, state, batch, context: ({}, tuple(state)),
            r'^Phase.forward returned dict, tuple; expected',
        ),
        (
            lambda params, state, batch, context: batch['source']['image'],
            r"^Phase.forward looked for 'source', which is not there: batch has 'target' \(im",
        ),
    ],
)
def test_forward_pass_gives_outputs_and_a_state(wrong, message):
    with pytest.raises(ValueError, match=message):
        evaluate(wrong)


@pytest.mark.parametrize(
    ('after_update', 'message'),
    [
        (lambda *_: None, r'returned nothing \(None\); expected a State: return state._replace\('),
        (lambda params, state, *_: tuple(state), r'returned tuple; expected a State: return state'),
        (
            lambda params, state, outputs, batch: batch['target']['identity'],
            r"looked for 'identity', which is not there: batch has 'target' \(image, label",
        ),
    ],
)
def test_update_of_the_memory_gives_a_state(after_update, message):
    phase = Phase(
        name='test',
        epochs=1,
        streams={'target': STREAM},
        forward=forward,
        terms={'own': term},
        optimizer=optax.sgd,
        after_update=after_update,
    )
    optimizer = phase.optimizer(0.1)
    ready = prepared(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), pad=1, erase_probability=0.0)
    step = steps.train_step(phase, optimizer, ready, start=0, steps=10)
    now = state.create(PARAMS, State({}, MEMORY), optimizer)
    images = np.zeros((8, 2, 2, 3), np.uint8)
    batch = {'target': {**BATCH['target'], 'image': images}}
    with pytest.raises(ValueError, match=f'^Phase.after_update {message}'):
        jax.eval_shape(step.run, now, batch, jax.random.key(0))


# -- outputs -----------------------------------------------------------------------------------


def giving(make):
    """A forward pass with one more output of the target."""

    def wrong(params, state, batch, context):
        outputs, state = forward(params, state, batch, context)
        return {'target': {**outputs['target'], 'more': make(outputs, batch, params)}}, state

    return wrong


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (
            lambda outputs, batch, params: params['w'],
            r'the forward pass gave outputs/target/more of shape \(3,\); expected the 8 images of'
            r" stream 'target' on the first axis, or as many per each of the 4 groups, or a scalar",
        ),
        (
            lambda outputs, batch, params: outputs['target']['feature'].reshape(2, 4, 3),
            r'the forward pass gave outputs/target/more of shape \(2, 4, 3\); expected the 8',
        ),
        (
            lambda outputs, batch, params: {'deep': params['w']},
            r'the forward pass gave outputs/target/more/deep of shape \(3,\)',
        ),
    ],
)
def test_output_without_the_images_on_its_first_axis_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        evaluate(giving(make))


@pytest.mark.parametrize(
    ('make', 'whole'),
    [
        (lambda outputs, batch, params: params['w'], (3,)),
        (lambda outputs, batch, params: params['w'][:2], (2,)),
        # As many views as images of a part, and as many parts.
        (lambda outputs, batch, params: jnp.stack([outputs['target']['feature']] * 4), (4, 8, 3)),
        (lambda outputs, batch, params: outputs['target']['feature'].T, (3, 8)),
    ],
)
def test_output_that_parts_would_scramble_is_refused(make, whole):
    message = r'2 parts \(train.accumulate\) .* make outputs/target/more of shape .* whole batch'
    with pytest.raises(ValueError, match=f'{message} {re.escape(str(whole))}; expected outputs'):
        evaluate(giving(make), parts=2)


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize(
    ('make', 'whole'),
    [
        (lambda outputs, batch, params: outputs['target']['feature'].mean(), ()),
        (lambda outputs, batch, params: outputs['target']['feature'][::2], (4, 3)),
        (lambda outputs, batch, params: jnp.repeat(batch['target']['label'], 3), (24,)),
    ],
)
def test_scalars_and_rows_of_groups_are_outputs(make, whole, parts):
    assert evaluate(giving(make), parts=parts).outputs['target']['more'].shape == whole


@pytest.mark.parametrize('parts', [1, 2])
def test_views_have_an_axis_after_the_images(parts):
    twice = {'target': {**BATCH['target'], 'image': jnp.stack([BATCH['target']['image']] * 2)}}
    stream = plans.pseudo('target', 4, 2, views=2)

    def seen(axis):
        def forward(params, state, batch, context):
            features = jnp.moveaxis(embedded(params, batch), 0, axis)
            return {'target': {'feature': features}}, state

        return evaluate(forward, parts=parts, batch=twice, stream=stream)

    assert seen(1).outputs['target']['feature'].shape == (8, 2, 3)
    with pytest.raises(ValueError, match='outputs/target/feature of shape'):
        seen(0)
