"""A matrix of properties over all losses in the table of loss_cases.py."""

import functools
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_case import QUICK, Case
from loss_cases import CASES

from jreid import losses

jit = functools.partial(jax.jit, compiler_options=QUICK)
every_loss = pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)


def scalar(case: Case, value: jax.Array) -> jax.Array:
    """Reduces a loss to one number by a fixed weighting of its rows.

    Log-probabilities, which may be -inf, enter through exp.
    """
    if value.ndim == 0:
        return value
    value = jnp.exp(value) if case.name.startswith('student_t') else value
    return jnp.sum(value * jnp.cos(jnp.arange(value.size)).reshape(value.shape))


def with_gradients(case: Case) -> Callable:
    """Returns a function of the case's arrays to its value and gradients."""

    def both(*arrays):
        value = case.loss(*arrays)
        return scalar(case, value), value

    gradient = jax.grad(both, argnums=case.floats, has_aux=True)
    return lambda *arrays: gradient(*arrays)[::-1]


@functools.cache
def compiled(case: Case) -> Callable:
    """Compiles value and gradients together, once per case and shape."""
    return jit(with_gradients(case))


def value_of(case: Case, arrays) -> jax.Array:
    return compiled(case)(*arrays)[0]


def gradients(case: Case, arrays) -> tuple[jax.Array, ...]:
    return compiled(case)(*arrays)[1]


@functools.cache
def of_all(transform: Callable, arguments: Callable) -> dict[str, jax.Array]:
    """Calls transform(case.loss) on arguments(case) for every case, in one compiled program: half
    the time of a program per case.
    """
    losses_of = {case.name: transform(case.loss) for case in CASES}
    together = jit(
        lambda inputs: {name: losses_of[name](*arrays) for name, arrays in inputs.items()}
    )
    return together({case.name: arguments(case) for case in CASES})


def hand_arrays(case: Case):
    return case.hand[0]


def shrunk(case: Case, shift: int):
    return changed(case, lambda a: a * (1 - 0.3 * shift))


def three_batches(case: Case):
    batches = [shrunk(case, shift) for shift in range(3)]
    return [jnp.stack(same) for same in zip(*batches, strict=True)]


def changed(case: Case, change):
    return tuple(change(a) if i in case.floats else a for i, a in enumerate(case.arrays))


def test_every_public_name_is_in_the_table():
    tested = {case.name.split('-')[0] for case in CASES}
    assert (
        tested
        == {name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))}
        == set(losses.__all__)
    )


@every_loss
def test_hand_value(case):
    value = np.asarray(of_all(jax.jit, hand_arrays)[case.name])
    np.testing.assert_allclose(value.squeeze(), np.squeeze(case.hand[1]), rtol=2e-6, atol=1e-6)


@every_loss
def test_reference_in_float64(case):
    wide = tuple(a.astype(np.float64) if a.dtype == np.float32 else a for a in case.arrays)
    np.testing.assert_allclose(
        value_of(case, case.arrays), case.reference(*wide), rtol=2e-5, atol=2e-6
    )


@every_loss
def test_gradient_is_the_slope_of_the_reference(case):
    if not case.differentiable_reference:
        pytest.skip('no gradient by definition of the loss: see the targeted tests')
    random = np.random.default_rng(1)
    wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in case.arrays]
    found = gradients(case, case.arrays)
    for position, gradient in zip(case.floats, found, strict=True):
        direction = random.normal(size=wide[position].shape)

        def at(step, position=position, direction=direction):
            moved = [*wide[:position], wide[position] + step * direction, *wide[position + 1 :]]
            value = np.asarray(case.reference(*moved))
            value = np.exp(value) if case.name.startswith('student_t') else value
            return float(
                value
                if value.ndim == 0
                else np.sum(value * np.cos(np.arange(value.size)).reshape(value.shape))
            )

        slope = (at(1e-6) - at(-1e-6)) / 2e-6
        np.testing.assert_allclose(
            np.sum(np.asarray(gradient) * direction), slope, rtol=2e-4, atol=2e-5
        )


@pytest.mark.slow
@every_loss
def test_jit_changes_nothing(case):
    np.testing.assert_allclose(
        value_of(case, case.arrays), case.loss(*case.arrays), rtol=2e-6, atol=1e-6
    )


@every_loss
def test_vmap_is_a_loop(case):
    np.testing.assert_allclose(
        of_all(jax.vmap, three_batches)[case.name],
        np.stack([value_of(case, shrunk(case, shift)) for shift in range(3)]),
        rtol=2e-5,
        atol=2e-6,
    )


@every_loss
def test_order_of_the_batch_does_not_matter(case):
    random = np.random.default_rng(2)
    orders = {
        group: random.permutation(len(a))
        for group, a in zip(case.rows, case.arrays, strict=True)
        if group
    }
    permuted = [
        a[orders[group]] if group else a for group, a in zip(case.rows, case.arrays, strict=True)
    ]
    before, after = np.asarray(value_of(case, case.arrays)), np.asarray(value_of(case, permuted))
    np.testing.assert_allclose(
        after, before[orders['a']] if case.rowwise else before, rtol=5e-6, atol=1e-6
    )


@every_loss
def test_nothing_to_average_is_zero(case):
    if case.rowwise:
        empty = [a[:0] if group else a for group, a in zip(case.rows, case.arrays, strict=True)]
        assert jit(case.loss)(*empty).shape[0] == 0
    for arrays in case.nothing:
        assert value_of(case, arrays) == 0
        for gradient in gradients(case, arrays):
            assert not gradient.any()


@every_loss
def test_left_out_values_do_not_matter(case):
    spoilt = [a.copy() for a in case.arrays]
    for argument, index in case.unseen:
        spoilt[argument][index] = np.nan
    np.testing.assert_array_equal(value_of(case, spoilt), value_of(case, case.arrays))
    for gradient, clean in zip(gradients(case, spoilt), gradients(case, case.arrays), strict=True):
        np.testing.assert_array_equal(gradient, clean)
    for argument, index in case.unseen:
        if argument in case.floats:
            assert not gradients(case, case.arrays)[case.floats.index(argument)][index].any()


EXTREMES = {
    'million': lambda a: a * 1e6,
    'tiny': lambda a: a * 1e-22,
    'offset': lambda a: a + 1e6,
    'identical': lambda a: np.broadcast_to(a[:1], a.shape).copy(),
    'zeros': lambda a: a * 0,
}


@every_loss
@pytest.mark.parametrize('extreme', EXTREMES)
def test_extreme_inputs_are_finite(case, extreme):
    arrays = changed(case, EXTREMES[extreme])
    value = np.asarray(value_of(case, arrays))
    assert not np.isnan(value).any()
    assert np.isfinite(value).all() or case.name == 'student_t_assignment-masked'
    for gradient in gradients(case, arrays):
        assert np.isfinite(gradient).all()


@every_loss
def test_nan_stays_visible(case):
    for position in case.floats:
        spoilt = [a.copy() for a in case.arrays]
        spoilt[position].flat[0] = np.nan
        value = np.asarray(value_of(case, spoilt))
        assert np.isnan(value).any() if case.rowwise else np.isnan(value)


def in_half(case: Case):
    return changed(case, lambda a: jnp.asarray(a, jnp.bfloat16))


@functools.cache
def of_all_in_half() -> dict[str, tuple]:
    """Computes value and gradients of every case in bfloat16, in one compiled program."""
    together = jit(
        lambda inputs: {case.name: with_gradients(case)(*inputs[case.name]) for case in CASES}
    )
    return together({case.name: in_half(case) for case in CASES})


@every_loss
def test_bfloat16_is_computed_in_float32(case):
    rounded = changed(case, lambda a: jnp.asarray(a, jnp.bfloat16).astype(jnp.float32))
    value, slopes = of_all_in_half()[case.name]
    assert value.dtype == (jnp.bfloat16 if case.keeps_dtype else jnp.float32)
    np.testing.assert_allclose(
        value.astype(jnp.float32), value_of(case, rounded), rtol=2e-6, atol=1e-6
    )
    for gradient in slopes:
        assert gradient.dtype == jnp.bfloat16
        assert np.isfinite(gradient.astype(jnp.float32)).all()
