"""The run's backbone: built by name, and started from the weights that the config names."""

import dataclasses
import difflib
import logging
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jreid.models import BACKBONES, Backbone

log = logging.getLogger('jreid')


def build(
    name: str, options: Mapping[str, Any], *, compute_dtype: str = 'float32', remat: bool = False
) -> tuple[nn.Module, Backbone]:
    """Returns the module and its record (width, normalisation).

    Args:
      options: attributes of the module, e.g. last_stride.
      compute_dtype: 'float32' or 'bfloat16', of the backbone's arithmetic; parameters, statistics
        and the map it gives are float32.
      remat: keep the inputs of its blocks alone for the backward pass.

    Raises:
      ValueError: no such backbone, an option that it does not have, or a value of another kind
        than the option's default.
    """
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise ValueError(
            f"backbone '{name}' does not exist{hint}; there are: {', '.join(BACKBONES)}"
        )
    record = BACKBONES[name]
    common = {'dtype': jnp.dtype(compute_dtype), 'remat': remat}
    attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    usual = record.constructor(**common)
    known = [
        field.name
        for field in dataclasses.fields(usual)
        if field.init and field.name not in (*common, 'parent', 'name')
    ]
    for option, value in attributes.items():
        if option in common:
            field = {'dtype': 'train.compute_dtype', 'remat': 'train.remat'}[option]
            raise ValueError(f'model.options of {name}: {option} is set by {field}')
        if option not in known:
            raise ValueError(
                f"model.options of {name}: there is no '{option}'; there are: {', '.join(known)}"
            )
        _check(name, option, value, getattr(usual, option))
    return record.constructor(**common, **attributes), record


def _check(name: str, option: str, value: Any, usual: Any) -> None:
    """Refuses a value of another kind than the option's default, which would fail while traced."""
    fits = type(value) is type(usual) or (isinstance(usual, float) and type(value) is int)
    if fits and isinstance(usual, tuple):
        fits = bool(value) and all(type(part) is type(usual[0]) for part in value)
    if not fits:
        raise ValueError(
            f'model.options of {name}: {option} is {value!r}; expected'
            f' {type(usual).__name__} as in {usual!r}'
        )
