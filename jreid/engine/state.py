"""The frozen training state: what a step reads and gives back."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jreid.methods.contract import Tree


@flax.struct.dataclass
class TrainState:
    """Everything that a jitted step changes.

    Attributes:
      step: int32 [], steps taken since the run began, over all phases.
      params: trained parameters.
      model_state: batch-norm statistics (of each domain, where a system keeps them apart).
      opt_state: the optimizer's state in this phase.
      extra: arrays that a refresh sets and the objective reads (centroids, masks).
    """

    step: jax.Array
    params: Tree
    model_state: Tree
    opt_state: Any
    extra: Tree

    @property
    def variables(self) -> dict[str, Tree]:
        """`params` and `model_state`, as `Method.embed` takes them."""
        return {'params': self.params, 'model_state': self.model_state}


def create(
    params: Tree,
    model_state: Tree,
    extra: Tree,
    optimizer: optax.GradientTransformation,
    *,
    step: int = 0,
) -> TrainState:
    """A state at `step` with a fresh optimizer."""
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        extra=extra,
    )
