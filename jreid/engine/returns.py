"""Checks what a system's functions return, and names the function where one fails.

JAX and Python know nothing of terms and streams: without these checks an error is about a tuple, a
key or a shape, and not about the function that it comes from.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from jreid.engine.alike import leaves
from jreid.methods.contract import Batch, Outputs, Params, State, Stream


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


def check_start(result: Any, function: str) -> tuple[Params, State]:
    """Returns the parameters and the state that the start of a phase gave.

    Raises:
      ValueError: it is not a pair of parameters and a `State`.
    """
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], State)):
        raise ValueError(f'{function} returned {kind(result)}; expected (params, state)')
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


def check_outputs(outputs: Outputs, batch: Batch, streams: Mapping[str, Stream]) -> None:
    """Checks that outputs have the images of their stream on the first axis.

    Where a stream has groups of images (`Stream.group`), as many rows per group will do, e.g. its
    pairs. Outputs that are not named after a stream, e.g. of two streams together, and scalars are
    not checked.

    Args:
      outputs: of a forward pass on `batch`.

    Raises:
      ValueError: names the stream and the output.
    """
    for name, stream in streams.items():
        if name not in outputs or name not in batch or 'image' not in batch[name]:
            continue
        images = batch[name]['image'].shape[1 if stream.views > 1 else 0]
        groups = max(images // stream.group, 1)
        for place, x in leaves(outputs[name], f'outputs/{name}').items():
            shape = jnp.shape(x)
            rows = shape[0] if shape else images
            if rows != images and (stream.group == 1 or rows % groups):
                per_group = f', or as many per each of the {groups} groups'
                raise ValueError(
                    f'the forward pass gave {place} of shape {shape}; expected the {images} images'
                    f" of stream '{name}' on the first axis"
                    f'{per_group if stream.group > 1 else ""}, or a scalar'
                )


def check_joined(joined: Outputs, whole: Outputs, parts: int) -> None:
    """Checks that outputs of parts, joined along the first axis, look as those of a whole batch.

    Args:
      joined: outputs of the parts together.
      whole: shapes of the outputs of a forward pass on the whole batch.
      parts: for the error.

    Raises:
      ValueError: names the stream and the output.
    """
    expected = leaves(whole, 'outputs')
    for place, x in leaves(joined, 'outputs').items():
        wanted = jnp.shape(expected[place]) if place in expected else 'nothing'
        if jnp.shape(x) != wanted:
            raise ValueError(
                f'{parts} parts (train.accumulate) of the forward pass make {place} of shape'
                f' {jnp.shape(x)}, and the whole batch {wanted}; expected outputs with the images'
                ' of their stream on the first axis (views and the like on a later one), or scalars'
            )
