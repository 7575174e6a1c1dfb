"""Holds the frozen training state: what a step reads and gives back."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jreid.methods.contract import Params, State


@flax.struct.dataclass
class TrainState:
    """Everything that a jitted step changes.

    Attributes:
      step: int32 [], steps taken since the run began, over all phases.
      params: trained parameters.
      state: batch-norm statistics and the system's memory.
      opt_state: the optimizer's state in this phase.
    """

    step: jax.Array
    params: Params
    state: State
    opt_state: Any


def create(
    params: Params, state: State, optimizer: optax.GradientTransformation, *, step: int = 0
) -> TrainState:
    """Returns a train state at `step` with a fresh optimizer."""
    return TrainState(jnp.asarray(step, jnp.int32), params, state, optimizer.init(params))
