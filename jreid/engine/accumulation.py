"""Gradient accumulation: a step's batch in parts, one after the other, so that only a part's
activations are in memory.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jreid.methods.contract import Array, Objective, Tree


def value_and_gradient(
    objective: Objective,
    params: Tree,
    model_state: Tree,
    batch: Mapping[str, Mapping[str, Array]],
    key: Array,
    progress: Array,
    extra: Tree,
    *,
    parts: int = 1,
    mesh: Mesh | None = None,
) -> tuple[tuple[Array, tuple[Tree, dict[str, Array]]], Tree]:
    """((loss, (model_state, metrics)), gradient): means over `parts` equal parts of every stream's
    batch, in the plan's order.

    A loss that is a mean over images has the value and the gradient that it has on the whole batch.
    What looks at several images at once sees a part: batch normalisation normalises with a part's
    statistics and moves its running ones once a part; batch-hard mining finds the hardest of a part
    (its P / parts identities, K images of each: the images of an identity stay together); MMD and
    centres compare a part's means; a mean over the images with a pseudo label weighs parts alike,
    however many they have. Fewer candidates make batch-hard triplets easier and MMD noisier, so a
    run with accumulation is another experiment than one without.

    Args:
      parts: divides every stream's batch into whole identities
        (`jreid.training.preflight.check_phases`).
      mesh: where the batch is spread over devices; every part then is, too.
    """

    def loss(
        params: Tree, model_state: Tree, part: Tree, key: Array
    ) -> tuple[Array, tuple[Tree, dict[str, Array]]]:
        return objective(params, model_state, part, key, progress, extra)

    differentiated = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return differentiated(params, model_state, batch, key)

    def split(x: Array) -> Array:
        x = x.reshape(parts, x.shape[0] // parts, *x.shape[1:])
        return (
            x
            if mesh is None
            else jax.lax.with_sharding_constraint(
                x, NamedSharding(mesh, PartitionSpec(None, 'data'))
            )
        )

    def one(
        carry: tuple[Tree, Tree], given: tuple[Array, Tree]
    ) -> tuple[tuple[Tree, Tree], tuple[Array, dict[str, Array]]]:
        (total, model_state), (number, part) = carry, given
        (value, (model_state, metrics)), gradient = differentiated(
            params, model_state, part, jax.random.fold_in(key, number)
        )
        return (jax.tree.map(jnp.add, total, gradient), model_state), (value, metrics)

    start = (jax.tree.map(jnp.zeros_like, params), model_state)
    (total, model_state), (values, metrics) = jax.lax.scan(
        one, start, (jnp.arange(parts), jax.tree.map(split, batch))
    )
    mean = {name: jnp.mean(value, axis=0) for name, value in metrics.items()}
    return (jnp.mean(values), (model_state, mean)), jax.tree.map(lambda g: g / parts, total)
