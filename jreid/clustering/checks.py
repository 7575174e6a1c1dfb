"""Checks of arguments that the clustering functions share; under a trace only forms are known."""

import operator
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_BEYOND = 2**63
"""The first whole number that int64 does not hold."""


def check_samples(name: str, x: Any) -> jax.Array:
    """Returns samples [n, d] as a JAX array of floating-point numbers, at least float32.

    Raises:
      ValueError: another number of dimensions, no rows, no width, or no real numbers.
    """
    if not isinstance(x, jax.Array):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ValueError(
                f'{name} have rows of different lengths; expected [n, width]'
            ) from error
    if x.ndim != 2 or 0 in x.shape:
        hint = ' (one row is x[None])' if x.ndim == 1 else ''
        raise ValueError(
            f'{name} have shape {x.shape}; expected [n, width] with at least one of each{hint}'
        )
    if x.dtype.kind not in 'fiu' and x.dtype.name != 'bfloat16':
        raise ValueError(f'{name} are {x.dtype}; expected real numbers')
    array = jnp.asarray(x)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def check_finite(name: str, x: Any) -> None:
    """Checks that all samples are finite.

    Raises:
      ValueError: some are not; the message has their number and the first.
    """
    bad = np.flatnonzero(~np.isfinite(np.asarray(x)).all(axis=1))
    if bad.size:
        raise ValueError(
            f'{bad.size} of {len(x)} {name} are not finite, e.g. row {bad[0]}; expected finite'
            ' features: look for a diverged model'
        )


def as_array(name: str, values: Any, form: str) -> np.ndarray:
    """Returns numpy's array of values.

    Raises:
      ValueError: lists of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f'{name} are lists of different lengths; expected {form}') from error


def check_labels(name: str, labels: Any, count: int, *, words: bool = False) -> np.ndarray:
    """Returns one label per sample, [n]; [n, 1] is flattened.

    Args:
      count: number of samples; -1 for any.
      words: whether words may be labels.

    Raises:
      ValueError: another number of labels, or labels that are no whole numbers.
    """
    array = as_array(name, labels, 'one label per sample, [n]')
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or count >= 0 and array.shape[0] != count:
        samples = f' for {count} samples' if count >= 0 else ''
        raise ValueError(f'{name} have shape {array.shape}{samples}; expected one per sample, [n]')
    if array.dtype.kind == 'O' and all(isinstance(value, str) for value in array):
        array = array.astype(np.str_)
    if words and array.dtype.kind == 'U':
        return array
    if array.dtype.kind in 'fu' and (array >= _BEYOND).any():
        raise ValueError(
            f'{name} hold {array.max()}; expected whole numbers below 2**63 (int64)'
            f'{", or words" if words else ""}'
        )
    if array.dtype.kind == 'f':
        whole = np.isfinite(array) & (array == np.round(array))
        if not whole.all():
            raise ValueError(
                f'{name} hold {array[np.argmin(whole)]}; expected whole numbers, since others would'
                ' be cut'
            )
        return array.astype(np.int64)
    if array.dtype.kind not in 'iu':
        allowed = 'whole numbers or words' if words else 'whole numbers'
        raise ValueError(f'{name} are {array.dtype}; expected {allowed}')
    return array


def check_counts(*, least: int = 1, **counts: Any) -> None:
    """Checks that values, named as in the call, are whole numbers from `least` on, or traced.

    True and False are none.
    """
    for name, value in counts.items():
        if isinstance(value, jax.core.Tracer):
            continue
        try:
            number = least - 1 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = least - 1
        if number < least:
            raise ValueError(f'{name} is {value!r}; expected a whole number, at least {least}')


def is_number(value: Any) -> bool:
    """Returns whether a value is one real number, of Python, numpy or JAX."""
    if isinstance(value, np.ndarray | jax.Array) and value.ndim == 0:
        value = np.asarray(value)[()]
    return isinstance(value, Real) and not isinstance(value, bool)


def check_tolerance(value: Any) -> None:
    """Checks that a tolerance is a number from 0 on, or traced."""
    if isinstance(value, jax.core.Tracer):
        return
    if not is_number(value) or not 0 <= float(value) < np.inf:
        raise ValueError(f'tolerance is {value!r}; expected a number from 0 on')


def check_key(key: Any) -> None:
    """Checks that a key is one of JAX, new or old, or traced."""
    if isinstance(key, jax.Array | np.ndarray):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if key.shape == () if typed else (key.shape, key.dtype) == ((2,), np.uint32):
            return
    raise ValueError(f'key is {key!r}; expected one key of JAX, such as jax.random.key(0)')
