"""Holds a system to what `scripts/parity` kept of its authors' program: starts it from the
program's weights, and takes the program's steps.
"""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from preparing import still

from jreid.engine import state as states
from jreid.engine import steps

PLAIN = still((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def part(kept: Mapping[str, np.ndarray], name: str) -> dict:
    """The tree of the arrays `name/...`."""
    start = f'{name}/'
    flat = {key[len(start) :]: jnp.array(x) for key, x in kept.items() if key.startswith(start)}
    return traverse_util.unflatten_dict(flat, sep='/')


def zeros(tree):
    """Zeros like the shapes that `jax.eval_shape` gave: nothing is drawn, nothing compiles."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


class Mirroring:
    """Prepares the views of a batch in turn: the images, their mirror images."""

    def __init__(self):
        self.mirrored = False

    def random(self, key, images):
        images = PLAIN.fixed(images)
        self.mirrored = not self.mirrored
        return images if self.mirrored else images[:, :, ::-1]


def steps_taken(phase, params, state, batches: Iterable[Mapping], total: int, *, preparation=PLAIN):
    """Takes the steps of a phase.

    Returns:
      Name of a term -> its values in the steps, and the state after them.
    """
    optimizer = phase.optimizer(total)
    step = steps.train_step(phase, optimizer, preparation, start=0, steps=total)
    # A step donates its state, and leaves may be shared.
    now, scalars = states.create(*jax.tree.map(jnp.array, (params, state)), optimizer), []
    for batch in batches:
        now, values = step.run(now, batch, jax.random.key(0))
        scalars.append(step.scalars(values))
    assert len(scalars) == total
    return {name: np.array([x[name] for x in scalars]) for name in scalars[0]}, now
