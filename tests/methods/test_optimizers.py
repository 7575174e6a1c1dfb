"""Optimizers and schedules: values at chosen steps, groups of learning rates, decay and
clipping, each by hand.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jreid.methods.common.optimizers import Optimizer


@pytest.mark.parametrize(
    ('settings', 'values'),
    [
        ({'schedule': 'constant'}, {0: 0.5, 99: 0.5}),
        # Constant for the first half, then linear to 0 at step 100.
        (
            {'schedule': 'half-linear'},
            {0: 0.5, 50: 0.5, 75: 0.5 * 25 / 50, 99: 0.5 * 1 / 50, 100: 0.0},
        ),
        ({'schedule': 'cosine'}, {0: 0.5, 25: 0.25 * (1 + np.cos(np.pi / 4)), 50: 0.25, 100: 0.0}),
        (
            {'schedule': 'steps', 'boundaries': (0.4, 0.7)},
            {0: 0.5, 39: 0.5, 40: 0.05, 69: 0.05, 70: 0.005, 99: 0.005},
        ),
        # From a tenth of the peak to the peak over 20 steps, then the schedule over the rest.
        ({'schedule': 'constant', 'warmup': 0.2}, {0: 0.05, 10: 0.05 + 0.45 / 2, 20: 0.5, 99: 0.5}),
        (
            {'schedule': 'half-linear', 'warmup': 0.2},
            {0: 0.05, 20: 0.5, 60: 0.5, 80: 0.25, 100: 0.0},
        ),
        ({'schedule': 'cosine', 'warmup': 0.2}, {20: 0.5, 60: 0.25, 100: 0.0}),
        # Boundaries are shares of the whole phase, warm-up included.
        (
            {'schedule': 'steps', 'boundaries': (0.4, 0.7), 'warmup': 0.2},
            {19: 0.05 + 0.45 * 19 / 20, 39: 0.5, 40: 0.05, 69: 0.05, 70: 0.005},
        ),
    ],
)
def test_learning_rate_at_chosen_steps(settings, values):
    schedule = Optimizer(learning_rate=0.5, **settings).schedule_over(100)
    found = {step: float(schedule(step)) for step in values}
    assert found == pytest.approx(values, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize('schedule', ['constant', 'half-linear', 'cosine', 'steps'])
@pytest.mark.parametrize('steps', [0, 1, 2])
@pytest.mark.parametrize('warmup', [0.0, 0.5, 1.0])
def test_shortest_phases_have_a_positive_rate_at_their_first_step(schedule, steps, warmup):
    optimizer = Optimizer(learning_rate=0.5, schedule=schedule, warmup=warmup, boundaries=(0.5,))
    rate = optimizer.schedule_over(steps)
    assert 0.05 <= float(rate(0)) <= 0.5 + 1e-6
    assert np.isfinite([float(rate(i)) for i in range(5)]).all()


PARAMS = {
    'backbone': {'w': jnp.array([3.0, -4.0])},
    'head': {'w': jnp.array([1.0]), 'b': jnp.array([2.0])},
}
GRADIENTS = {
    'backbone': {'w': jnp.array([1.0, 2.0])},
    'head': {'w': jnp.array([-2.0]), 'b': jnp.array([4.0])},
}


def moves(settings, steps=1, total=100):
    """Parameters after `steps` equal gradients in a phase of `total` steps."""
    optimizer = dataclasses.replace(settings, group=lambda path: path[0])(total)
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, state = optimizer.update(GRADIENTS, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_sgd_with_momentum_and_decay_by_hand():
    params = moves(Optimizer('sgd', 0.1, 'constant', b1=0.9, weight_decay=0.5), steps=2)
    w, velocity = np.array([3.0, -4.0]), 0.0
    for _ in range(2):
        velocity = 0.9 * velocity + np.array([1.0, 2.0]) + 0.5 * w
        w = w - 0.1 * velocity
    np.testing.assert_allclose(params['backbone']['w'], w, rtol=1e-6)


@pytest.mark.parametrize(('name', 'decoupled'), [('adam', False), ('adamw', True)])
def test_adam_by_hand_with_both_kinds_of_decay(name, decoupled):
    params = moves(Optimizer(name, 0.1, 'constant', b1=0.8, b2=0.9, weight_decay=0.3), steps=3)
    w, m, v = np.array([3.0, -4.0]), 0.0, 0.0
    for t in range(1, 4):
        g = np.array([1.0, 2.0]) + (0 if decoupled else 0.3 * w)
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        step = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
        w = w - 0.1 * (step + (0.3 * w if decoupled else 0))
    np.testing.assert_allclose(params['backbone']['w'], w, rtol=1e-5)


@pytest.mark.parametrize('name', ['adam', 'adamw', 'sgd'])
def test_restarts_forget_the_moments_and_keep_the_schedule(name):
    settings = Optimizer(name, 0.1, 'half-linear', b1=0.8, weight_decay=0.3, restarts=3)
    params = moves(settings, steps=3, total=6)  # a stretch has two steps
    w = np.array([3.0, -4.0])
    for number in range(3):
        if number in (0, 2):
            m = v = velocity = np.zeros(2)
        g = np.array([1.0, 2.0]) + (0 if name == 'adamw' else 0.3 * w)
        m, v, velocity = 0.8 * m + 0.2 * g, 0.999 * v + 0.001 * g**2, 0.8 * velocity + g
        t = number % 2 + 1
        step = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        step = velocity if name == 'sgd' else step + (0.3 * w if name == 'adamw' else 0)
        w = w - 0.1 * step  # the rate falls from step 3 on
    np.testing.assert_allclose(params['backbone']['w'], w, rtol=1e-5)


def test_groups_move_at_their_own_rate_and_a_factor_of_zero_freezes():
    settings = Optimizer(
        'sgd', 0.1, 'constant', b1=0.0, weight_decay=0.5, multipliers={'backbone': 0.0, 'head': 3.0}
    )
    params = moves(settings)
    # no decay either
    np.testing.assert_array_equal(params['backbone']['w'], PARAMS['backbone']['w'])
    np.testing.assert_allclose(params['head']['w'], 1 - 0.3 * (-2 + 0.5 * 1), rtol=1e-6)
    np.testing.assert_allclose(params['head']['b'], 2 - 0.3 * (4 + 0.5 * 2), rtol=1e-6)


def test_group_is_told_by_the_names_of_the_path():
    assert Optimizer(group='/'.join).groups_of(PARAMS) == {
        'backbone': {'w': 'backbone/w'},
        'head': {'w': 'head/w', 'b': 'head/b'},
    }


def test_clip_bounds_the_norm_of_the_whole_gradient():
    """||g|| = sqrt(1 + 4 + 4 + 16) = 5, over all groups; a smaller one is left as it is."""
    for clip, factor in ((1.0, 1 / 5), (5.5, 1.0)):
        params = moves(
            Optimizer(
                'sgd',
                0.1,
                'constant',
                b1=0.0,
                clip=clip,
                multipliers={'backbone': 1.0, 'head': 2.0},
            )
        )
        np.testing.assert_allclose(
            params['backbone']['w'], np.array([3, -4]) - 0.1 * factor * np.array([1, 2]), rtol=1e-6
        )
        np.testing.assert_allclose(params['head']['b'], 2 - 0.2 * factor * 4, rtol=1e-6)


def test_unknown_names_and_groups_are_told():
    with pytest.raises(
        ValueError,
        match=(
            "schedule 'linear' is not known; expected 'constant', 'half-linear', 'cosine' or"
            " 'steps'"
        ),
    ):
        Optimizer(schedule='linear').schedule_over(10)
    with pytest.raises(
        ValueError, match="optimizer 'rmsprop' is not known; expected 'adam', 'adamw' or 'sgd'"
    ):
        Optimizer(name='rmsprop')(10)
    optimizer = Optimizer(multipliers={'backbone': 0.1}, group=lambda path: path[0])(10)
    with pytest.raises(ValueError, match='head'):
        optimizer.init(PARAMS)
