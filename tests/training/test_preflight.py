"""What a refresh gives is checked before it is trained on; nothing is trained here."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jreid.engine.returns import check_start
from jreid.methods.common import plans
from jreid.methods.contract import Phase, Refreshed, State
from jreid.training import preflight

IMAGES = 6
PARAMS = {'w': np.ones(2, np.float32)}
STATE = State(
    {'target': {'mean': np.zeros(3, np.float32)}},
    {'bank': np.zeros((4, 3), np.float32), 'limit': np.float32(np.inf), 'updates': np.int32(0)},
)
LABELS = np.array([0, 1, -1, 2, 3, 3])


def check(refreshed, **options):
    preflight.check_refreshed(refreshed, PARAMS, STATE, images=IMAGES, columns=1, **options)


def problem(refreshed, **options):
    """The error that a refresh is refused with, '' where it passes."""
    try:
        check(refreshed, **options)
    except ValueError as error:
        return str(error)
    return ''


def made(labels=LABELS, params=PARAMS, **memory):
    state = STATE._replace(memory={**STATE.memory, **memory})
    return Refreshed(labels, params, state, {})


@pytest.mark.parametrize(
    ('labels', 'span'),
    [
        (LABELS - 5, '-6 to -2'),
        (np.full(IMAGES, 2**40), '1099511627776 to 1099511627776'),
        (LABELS + 3, '2 to 6'),
        (np.full(IMAGES, 2**63, np.uint64), '9223372036854775808 to 9223372036854775808'),
    ],
)
def test_labels_out_of_range_are_refused(labels, span):
    message = f'a refresh gave labels from {span}; expected -1 .*, else 0 to 5 at most .6 target'
    with pytest.raises(ValueError, match=message):
        check(made(labels))


@pytest.mark.parametrize(
    ('labels', 'options'),
    [
        (LABELS, {}),
        (LABELS.astype(np.uint8).clip(0, 5), {}),
        (np.full(IMAGES, -1), {}),
        # Clusters of both domains may be numbered together, the source's identities first.
        (LABELS + 3, {'source_identities': 1}),
    ],
)
def test_labels_in_range_pass(labels, options):
    assert problem(made(labels), **options) == ''


@pytest.mark.parametrize('kind', [np.asarray, jnp.asarray, lambda x: jnp.asarray(x, jnp.bfloat16)])
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_leaf_that_is_not_finite_is_named(value, kind):
    bank = np.zeros((4, 3), np.float32)
    bank[1:3, 0] = value
    begun = STATE._replace(memory={**STATE.memory, 'bank': kind(STATE.memory['bank'])})
    refreshed = made(bank=kind(bank))
    message = r'a refresh gave state/memory/bank \(4, 3\) with 2 values that are not finite'
    with pytest.raises(ValueError, match=message):
        preflight.check_refreshed(refreshed, PARAMS, begun, images=IMAGES, columns=1)


def test_parameters_must_be_finite_and_a_limit_that_began_at_infinity_may_stay_there():
    bank = np.ones((4, 3), np.float32)
    assert problem(made(limit=np.float32(np.inf), updates=np.int32(3), bank=bank)) == ''
    with pytest.raises(ValueError, match=r'a refresh gave params/w \(2,\) with 1 values that'):
        check(made(params={'w': np.array([1, np.nan], np.float32)}))


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (
            None,
            r'Method.refresh returned nothing \(None\); expected a Refreshed\(labels, params, s',
        ),
        ((LABELS, PARAMS, STATE), 'Method.refresh returned tuple; expected a Refreshed'),
        (
            dataclasses.replace(made(), state=STATE._asdict()),
            'Refreshed.state of a refresh returned dict; expected a State',
        ),
    ],
)
def test_refresh_gives_a_refreshed(wrong, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        check(wrong)


@pytest.mark.parametrize('wrong', [None, STATE, (PARAMS, None), [PARAMS, STATE]])
def test_start_gives_parameters_and_state(wrong):
    assert check_start((PARAMS, STATE), 'a start') == (PARAMS, STATE)
    with pytest.raises(ValueError, match=r'^a start returned .*; expected \(params, state\)'):
        check_start(wrong, 'a start')


@pytest.mark.parametrize('refresh_every', [0, 1])
def test_scalar_that_is_not_finite_is_named_with_what_may_be_wrong(refresh_every):
    phase = Phase(
        name='adapt',
        epochs=1,
        streams={'target': plans.pseudo('target', 2, 2)},
        forward=lambda *_: None,
        terms={},
        optimizer=lambda steps: None,
        refresh_every=refresh_every,
    )
    preflight.check_finite({'loss': 1.0}, 1, phase, [])
    with pytest.raises(FloatingPointError, match=r'step 1 \(phase adapt\): loss not') as caught:
        preflight.check_finite({'loss': np.nan, 'nce': 1.0}, 1, phase, [])
    assert ('no label is beyond the classes of a head' in str(caught.value)) == bool(refresh_every)
