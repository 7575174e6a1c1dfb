"""Computes the loss and its gradient, in parts where only a part's activations fit the memory."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jreid.engine import returns
from jreid.engine.alike import as_arrays, check_alike, check_same
from jreid.methods.contract import (
    Array,
    Batch,
    Context,
    Forward,
    Outputs,
    Params,
    State,
    Stream,
    Term,
    Tree,
)


class Evaluated(NamedTuple):
    """What a step's forward and backward passes give.

    Attributes:
      loss: [], the sum of the terms.
      scalars: name -> [], the terms and the metrics.
      state: the state with new statistics.
      outputs: of the whole batch, without gradients.
      gradients: of the loss, as the parameters.
    """

    loss: Array
    scalars: Mapping[str, Array]
    state: State
    outputs: Outputs
    gradients: Tree


def value_and_gradient(
    forward: Forward,
    terms: Mapping[str, Term],
    metrics: Mapping[str, Term],
    params: Params,
    state: State,
    batch: Batch,
    context: Context,
    *,
    streams: Mapping[str, Stream] | None = None,
    parts: int = 1,
    mesh: Mesh | None = None,
) -> Evaluated:
    """Returns means over `parts` equal parts of every stream's batch, in the plan's order.

    A loss that is a mean over images has the value and the gradient that it has on the whole batch.
    What compares images sees one part. Batch normalisation normalises with a part's statistics and
    moves its running ones once per part. Batch-hard mining finds the hardest of a part: of its
    P / parts identities, K images each, which stay together. MMD and centres compare a part's
    means. A mean over the images with a pseudo label weighs all parts alike. Fewer candidates make
    batch-hard triplets easier and MMD noisier, so a run with accumulation is another experiment
    than one without. Every part sees the memory that the step began with.

    Args:
      streams: of the phase, which say what images have an axis of views before the batch's, and
        of which groups; None for plain ones, whose outputs are not checked where parts = 1.
      parts: divides every stream's batch into whole groups (`jreid.training.preflight`).
      mesh: where the batch is spread over devices; every part then is, too.

    Raises:
      ValueError: the forward pass replaced the memory, gave statistics of another structure, shape
        or type than it was given, or outputs without the images on their first axis; a term is not
        a scalar; or one of them looks for what the batch does not have. Names which.
    """

    def loss(
        params: Params, state: State, part: Batch, context: Context
    ) -> tuple[Array, tuple[dict[str, Array], Mapping[str, Tree], Outputs]]:
        with returns.naming('Phase.forward', batch=part, memory=state.memory):
            result = forward(params, state, part, context)
        outputs, new = returns.check_forward(result)
        statistics = _checked(state, new)
        weighted = evaluated(terms, 'term', outputs, part, state, context)
        returns.check_scalars(weighted, 'term', differentiated=True)
        fixed = jax.lax.stop_gradient(outputs)
        logged = evaluated(metrics, 'metric', fixed, part, state, context)
        returns.check_scalars(logged, 'metric', differentiated=False)
        total = sum(weighted.values())
        return jnp.asarray(total), ({**weighted, **logged}, statistics, fixed)

    def evaluated(
        functions: Mapping[str, Term],
        what: str,
        outputs: Outputs,
        part: Batch,
        state: State,
        context: Context,
    ) -> dict[str, Array]:
        values, places = {}, {'batch': part, 'outputs': outputs, 'memory': state.memory}
        for name, function in functions.items():
            with returns.naming(f"{what} '{name}'", **places):
                values[name] = function(outputs, part, state, context)
        return values

    streams = streams or {}
    differentiated = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, aux), gradients = differentiated(params, state, batch, context)
        scalars, statistics, outputs = aux
        returns.check_outputs(outputs, batch, streams)
        return Evaluated(value, scalars, State(statistics, state.memory), outputs, gradients)

    def split(name: str, entry: str, x: Array) -> Array:
        views = streams[name].views if name in streams else 1
        axis = 1 if entry == 'image' and views > 1 else 0
        shape = (*x.shape[:axis], parts, x.shape[axis] // parts, *x.shape[axis + 1 :])
        x = jnp.moveaxis(x.reshape(shape), axis, 0)
        if mesh is None:
            return x
        spec = PartitionSpec(*(None,) * (axis + 1), 'data')
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    def one(
        carry: tuple[Tree, Mapping[str, Tree]], numbered: tuple[Array, Batch]
    ) -> tuple[tuple[Tree, Mapping[str, Tree]], tuple[Array, dict[str, Array], Outputs]]:
        (total, statistics), (number, part) = carry, numbered
        own = context._replace(key=jax.random.fold_in(context.key, number))
        (value, (scalars, statistics, outputs)), gradient = differentiated(
            params, State(statistics, state.memory), part, own
        )
        return (jax.tree.map(jnp.add, total, gradient), statistics), (value, scalars, outputs)

    divided = {
        name: {entry: split(name, entry, x) for entry, x in stream.items()}
        for name, stream in batch.items()
    }
    start = (jax.tree.map(jnp.zeros_like, params), state.statistics)
    (total, statistics), (values, scalars, outputs) = jax.lax.scan(
        one, start, (jnp.arange(parts), divided)
    )
    outputs = jax.tree.map(_joined, outputs)
    # What `after_update` gets must not depend on the parts.
    whole = jax.eval_shape(lambda: forward(params, state, batch, context)[0])
    returns.check_joined(outputs, whole, parts)
    return Evaluated(
        jnp.mean(values),
        {name: jnp.mean(value, axis=0) for name, value in scalars.items()},
        State(statistics, state.memory),
        outputs,
        jax.tree.map(lambda g: g / parts, total),
    )


def _joined(x: Array) -> Array:
    """Joins an output [parts, B / parts, ...] to [B, ...]; scalars are averaged."""
    return jnp.mean(x, axis=0) if x.ndim == 1 else x.reshape(-1, *x.shape[2:])


def _checked(old: State, new: State) -> Mapping[str, Tree]:
    """Returns the statistics that a forward pass gave."""
    check_same(
        new.memory,
        old.memory,
        name='state.memory',
        source='the forward pass',
        instead='return state._replace(statistics=...) there, and move memory in'
        ' Phase.after_update, which runs once per update',
    )
    statistics = as_arrays(new.statistics)
    check_alike(statistics, old.statistics, name='state.statistics', source='the forward pass')
    return statistics
