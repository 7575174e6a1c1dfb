"""Runs a phase's forward pass and terms once, for tests of systems."""

import jax
import jax.numpy as jnp

from jreid.engine.accumulation import Evaluated, value_and_gradient
from jreid.methods.contract import Context

_COMPILED: dict = {}


def evaluate(phase, params, state, batch, *, key=None, progress=0.0, gradients=True) -> Evaluated:
    """Returns loss, scalars, state, outputs and gradients of a phase; compiled once per phase.

    Args:
      gradients: False for none, which halves the compilation.
    """
    if (id(phase), gradients) not in _COMPILED:

        @jax.jit
        def run(params, state, batch, key, progress):
            context = Context(key, progress)
            result = value_and_gradient(
                phase.forward, phase.terms, phase.metrics, params, state, batch, context
            )
            return result if gradients else result._replace(gradients=None)

        # The phase is kept beside its program, so that no other one gets its id.
        _COMPILED[id(phase), gradients] = (phase, run)
    key = jax.random.key(0) if key is None else key
    return _COMPILED[id(phase), gradients][1](params, state, batch, key, jnp.float32(progress))
