"""Runs a phase's forward pass and terms once, for tests of systems."""

import jax
import jax.numpy as jnp

from jreid.engine.accumulation import Evaluated, value_and_gradient
from jreid.methods.contract import Context

_COMPILED: dict = {}


def evaluate(phase, params, state, batch, *, key=None, progress=0.0) -> Evaluated:
    """Returns loss, scalars, state, outputs and gradients of a phase; compiled once per phase."""
    if id(phase) not in _COMPILED:

        @jax.jit
        def run(params, state, batch, key, progress):
            context = Context(key, progress)
            return value_and_gradient(
                phase.forward, phase.terms, phase.metrics, params, state, batch, context
            )

        # The phase is kept beside its program, so that no other one gets its id.
        _COMPILED[id(phase)] = (phase, run)
    key = jax.random.key(0) if key is None else key
    return _COMPILED[id(phase)][1](params, state, batch, key, jnp.float32(progress))
