"""Array types of the retrieval functions and the checks that they share."""

import operator
from numbers import Real
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

# The largest squared length: four times it, the largest squared distance, is within float32.
_LARGEST = 1e37
Array = np.ndarray | jax.Array
Features = Float[Array, 'n d']
Labels = Any
"""Identities or cameras, one per image: whole numbers or words, [n] or [n, 1], also as a list."""


def numbers(name: str, values: Any, form: str, *, rows: int = 1) -> np.ndarray:
    """Returns a matrix of numbers, float32 or float64, of whatever the caller gave.

    Half-precision and whole numbers become float32.

    Args:
      rows: the fewest rows allowed.

    Raises:
      ValueError: not two-dimensional, empty, or no real numbers.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f'{name} have rows of different lengths; expected {form}') from error
    if array.ndim != 2 or array.shape[0] < rows or array.shape[1] == 0:
        hint = ' (one row is x[None])' if array.ndim == 1 else ''
        raise ValueError(
            f'{name} have shape {array.shape}; expected {form} with at least one of each{hint}'
        )
    if array.dtype.kind not in 'fiu' and array.dtype.name != 'bfloat16':
        raise ValueError(f'{name} are {array.dtype}; expected real numbers')
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def check_features(name: str, features: Any) -> np.ndarray:
    """Returns the features as a numpy array of float32 or float64.

    Half-precision features (float16, bfloat16) and whole numbers become float32.

    Raises:
      ValueError: another number of dimensions, no rows, no width, no real numbers, NaN, infinity,
        or lengths whose squares leave float32. The message has the number of bad rows and the first
        of them.
    """
    array = numbers(f'{name} features', features, '[images, width]')
    with np.errstate(over='ignore', invalid='ignore'):
        fine = np.einsum('nd,nd->n', array, array) < _LARGEST
    if fine.all():
        return array
    bad = np.flatnonzero(~fine)
    bad = bad[~np.isfinite(array[bad]).all(axis=1)]
    if bad.size:
        raise ValueError(
            f'{bad.size} of {array.shape[0]} {name} features hold NaN or infinity (first: row'
            f' {bad[0]}); expected finite numbers: look for a diverged network or a wrong'
            ' preprocessing before evaluating'
        )
    raise ValueError(
        f'{(~fine).sum()} of {array.shape[0]} {name} features are longer than {_LARGEST**0.5:.0e}'
        f' (first: row {np.argmin(fine)}); expected squared distances within float32: divide the'
        ' features by a constant or by their length'
    )


def check_distances(distances: Any) -> np.ndarray:
    """Returns a distance matrix [q, g] of floating-point numbers; infinity is allowed.

    Raises:
      ValueError: another number of dimensions, empty, or no real numbers.
    """
    if isinstance(distances, np.ndarray) and distances.dtype.kind == 'f' and distances.ndim == 2:
        # Half precision is converted block by block.
        return distances if distances.size else numbers('distances', distances, '[q, g]')
    return numbers('distances', distances, '[queries, gallery images]')


def check_labels(name: str, labels: Any) -> np.ndarray:
    """Returns identities or cameras as [n], int64 or words.

    Raises:
      ValueError: not one per image, or neither whole numbers nor words.
    """
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise ValueError(
            f'{name} are lists of different lengths; expected one per image, [images]'
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f'{name} have shape {array.shape}; expected one per image, [images]')
    if array.dtype.kind == 'O' and all(isinstance(value, str) for value in array):
        array = array.astype(np.str_)
    if array.dtype.kind == 'U':
        return array
    if array.dtype.kind in 'fu' and (array >= 2**63).any():
        raise ValueError(
            f'{name} hold {array.max()}; expected whole numbers below 2**63 (int64), or words'
        )
    if array.dtype.kind == 'f':
        whole = np.isfinite(array) & (array == np.round(array))
        if not whole.all():
            raise ValueError(
                f'{name} hold {array[np.argmin(whole)]}; expected whole numbers or words, since'
                ' others would be cut'
            )
    elif array.dtype.kind not in 'iu':
        raise ValueError(f'{name} are {array.dtype}; expected whole numbers or words')
    return array.astype(np.int64)


def check_both(what: str, query: Any, gallery: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of both sides as int64; words get common numbers, '-1' and '' are -1.

    Raises:
      ValueError: labels of another form, or words on one side only.
    """
    x, y = check_labels(f'query {what}', query), check_labels(f'gallery {what}', gallery)
    kinds = ['words' if side.dtype.kind == 'U' else 'numbers' for side in (x, y)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f'query {what} are {kinds[0]} and gallery {what} {kinds[1]}; expected the same on both'
            ' sides'
        )
    if kinds[0] == 'numbers':
        return x, y
    joined = np.concatenate([x, y])
    coded = np.unique(joined, return_inverse=True)[1].astype(np.int64)
    coded[np.isin(joined, ['-1', ''])] = -1
    return coded[: len(x)], coded[len(x) :]


def check_pair(query: Any, gallery: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns checked query and gallery features, which must have the same width."""
    x, y = check_features('query', query), check_features('gallery', gallery)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f'query features are {x.shape[1]} wide and gallery features {y.shape[1]}; expected one'
            ' feature for both'
        )
    return x, y


def is_number(value: Any) -> bool:
    """Returns whether a value is one real number, of Python or numpy."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_positive(**counts: Any) -> None:
    """Checks that values, named as in the call, are whole numbers of at least 1; True is none."""
    for name, value in counts.items():
        try:
            number = 0 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = 0
        if number < 1:
            raise ValueError(f'{name} is {value!r}; expected a whole number, at least 1')


def check_switch(**switches: Any) -> None:
    """Checks that values, named as in the call, are True or False: NaN counts as true."""
    for name, value in switches.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f'{name} is {value!r}; expected True or False')
