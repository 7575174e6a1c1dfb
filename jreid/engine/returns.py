"""Checks what a system's functions return, and names the function where one fails.

JAX and Python know nothing of terms and streams: without these checks an error is about a tuple, a
key or a shape, and not about the function that it comes from.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from jreid.methods.contract import Outputs, State


@contextlib.contextmanager
def naming(function: str, **places: Any) -> Iterator[None]:
    """Says which function an error comes from, and what there is where it looked for a name.

    Args:
      function: for the error, such as "term 'triplet'".
      places: name -> what the function reads names of, such as its batch.

    Raises:
      ValueError: in the place of a KeyError; has the names that the places have.
      ValueError, TypeError: the function's own, with its name before the message. Any other error
        goes on with a note of the function.
    """
    try:
        yield
    except KeyError as error:
        there = '; '.join(f'{place} has {_names(tree)}' for place, tree in places.items())
        raise ValueError(
            f'{function} looked for {error}, which is not there: {there}{_hint(error)}'
        ) from error
    except Exception as error:
        if type(error) in (ValueError, TypeError):
            raise type(error)(f'{function}: {error}') from error
        error.add_note(f'in {function}')
        raise


def _names(tree: Any) -> str:
    """Formats the names of a place and what each has: 'source' (identity, image), 'bank'."""
    names = [
        f"'{name}'" + (f' ({", ".join(map(str, part))})' if isinstance(part, Mapping) else '')
        for name, part in (tree.items() if isinstance(tree, Mapping) else ())
    ]
    return ', '.join(names) or 'no names'


def _hint(error: KeyError) -> str:
    """Returns the rule of people's names, where one of them was looked for."""
    if error.args[:1] not in (('identity',), ('label',)):
        return ''
    return (
        ". Streams of the source have 'identity' and those of the target 'label', the pseudo label:"
        " the target's identities are never in a batch"
    )


def check_forward(result: Any) -> tuple[Outputs, State]:
    """Returns the outputs and the state that a forward pass gave.

    Raises:
      ValueError: it is not a pair of a mapping and a `State`.
    """
    pair = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    outputs, state = pair
    if not (isinstance(outputs, Mapping) and isinstance(state, State)):
        kinds = ', '.join(type(part).__name__ for part in pair) if pair is result else kind(result)
        raise ValueError(
            f'Phase.forward returned {kinds}; expected (outputs, state): a dict of stream -> name'
            ' -> array, and state._replace(statistics=...)'
        )
    return outputs, state


def check_state(result: Any, *, function: str, moves: str) -> State:
    """Returns the state that a function gave.

    Args:
      function: for the error.
      moves: the part of the state that the function may replace.

    Raises:
      ValueError: it is not a `State`.
    """
    if not isinstance(result, State):
        raise ValueError(
            f'{function} returned {kind(result)}; expected a State: return'
            f' state._replace({moves}=...)'
        )
    return result


def kind(result: Any) -> str:
    """Names what a function returned, for an error: 'nothing (None)', 'tuple', 'dict'."""
    return 'nothing (None)' if result is None else type(result).__name__


def check_scalars(values: Mapping[str, Any], what: str, *, differentiated: bool) -> None:
    """Checks terms or metrics.

    Args:
      what: 'term' or 'metric', for the error.
      differentiated: whether a gradient is taken of them, which integers do not have.

    Raises:
      ValueError: one is not a scalar, or is no floating-point number; names it.
    """
    for name, value in values.items():
        if not (hasattr(value, 'dtype') or isinstance(value, int | float | complex)):
            raise ValueError(f"{what} '{name}' returned {kind(value)}; expected a scalar")
        if jnp.shape(value):
            raise ValueError(
                f"{what} '{name}' has shape {jnp.shape(value)}; expected a scalar: take its mean"
            )
        if differentiated and not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise ValueError(
                f"{what} '{name}' is {jnp.result_type(value)}, which has no gradient; expected a"
                ' floating-point scalar: compute it from the outputs, not from labels alone'
            )
