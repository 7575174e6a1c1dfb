"""Runs networks whose batch-norm statistics are kept per domain (`State.statistics`)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Forward,
    Outputs,
    Params,
    State,
    Tree,
)
from jreid.models import norm
from jreid.models.norm import BatchNorm


def initial(
    network: nn.Module, key: Array, image_size: tuple[int, int], *, memory: Tree | None = None
) -> tuple[Params, State]:
    """Returns fresh parameters and a state in which both domains have the same statistics.

    Args:
      memory: what the system keeps besides, see `State.memory`; nothing by default.
    """
    variables = jax.jit(lambda k: network.init(k, jnp.zeros((2, *image_size, 3)), train=False))(key)
    statistics = variables.get('batch_stats', {})
    state = State({SOURCE: statistics, TARGET: statistics}, {} if memory is None else memory)
    return variables['params'], state


def forward(
    network: nn.Module, params: Params, state: State, images: Array, domain: str, **keywords: Any
) -> tuple[Any, State]:
    """Runs a training pass on one domain's images.

    Args:
      keywords: go to the network.

    Returns:
      The network's outputs, and the state with that domain's statistics moved.
    """
    variables = {'params': params, 'batch_stats': state.statistics[domain]}
    outputs, updated = network.apply(
        variables, images, train=True, mutable=['batch_stats'], **keywords
    )
    moved = {**state.statistics, domain: updated.get('batch_stats', {})}
    return outputs, state._replace(statistics=moved)


def source_forward(network: nn.Module, **keywords: Any) -> Forward:
    """Makes the pass of a phase that trains on the source alone, with its own statistics.

    Args:
      keywords: go to the network.
    """

    def forward_source(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        images = batch['source']['image']
        out, state = forward(network, params, state, images, SOURCE, **keywords)
        return {'source': out}, state

    return forward_source


def forward_jointly(
    network: nn.Module, params: Params, state: State, source: Array, target: Array, **keywords: Any
) -> tuple[Any, Any, State]:
    """Runs a training pass on both domains as one batch with common statistics.

    Where batch normalisation takes groups (`jreid.models.norm.batch_norm_groups`), each has its
    share of both domains.

    Returns:
      The outputs of the source, those of the target, and the state.

    Raises:
      ValueError: a domain's images do not divide into the groups.
    """
    groups = norm.current_groups()
    for name, size in ((SOURCE, len(source)), (TARGET, len(target))):
        if size % groups:
            raise ValueError(
                f'{size} images of the {name} do not divide into {groups} groups of batch'
                ' normalisation (train.batch_norm_groups); choose a divisor'
            )

    def apart(x: Array) -> Array:
        return x.reshape(groups, -1, *x.shape[1:])

    def joined(x: Array) -> Array:
        return x.reshape(-1, *x.shape[2:])

    images = joined(jnp.concatenate([apart(source), apart(target)], axis=1))
    outputs, state = forward(network, params, state, images, TARGET, **keywords)
    share = len(source) // groups
    first = jax.tree.map(lambda x: joined(apart(x)[:, :share]), outputs)
    second = jax.tree.map(lambda x: joined(apart(x)[:, share:]), outputs)
    common = state.statistics[TARGET]
    return first, second, state._replace(statistics={SOURCE: common, TARGET: common})


def inference(
    network: nn.Module, params: Params, state: State, images: Array, domain: str, **keywords: Any
) -> Any:
    """Returns the network's outputs with the running statistics of `domain`."""
    variables = {'params': params, 'batch_stats': state.statistics[domain]}
    return network.apply(variables, images, train=False, **keywords)


def norm_parameters(params: Tree, statistics: Tree) -> Tree:
    """Returns the part of the parameters that batch normalisation has, its scales and biases.

    Args:
      statistics: of the same network; they say which modules normalise.
    """
    if not all(isinstance(tree, Mapping) for tree in statistics.values()):
        return params
    return {name: norm_parameters(params[name], tree) for name, tree in statistics.items()}


def with_norm_parameters(params: Tree, norms: Tree) -> Tree:
    """Returns the parameters with those of `norm_parameters` in their places."""
    return {
        name: with_norm_parameters(leaf, norms[name])
        if isinstance(leaf, Mapping) and name in norms
        else norms.get(name, leaf)
        for name, leaf in params.items()
    }


def batch_statistics(
    network: nn.Module, momentum: float, *, backbones: tuple[str, ...] = ('backbone',)
) -> Callable[[Params, State, Array], dict[str, Tree]]:
    """Makes `Method.statistics`: statistics whose target part is that of the images alone.

    A training pass from statistics of zero leaves (1 - momentum) times the batch's own; dividing by
    (1 - momentum) gives them.

    Args:
      momentum: of the batch normalisation in the parts `backbones`; it is `BatchNorm`'s default
        everywhere else.
    """

    def own(path: tuple[Any, ...], x: Array) -> Array:
        inside = any(getattr(key, 'key', '') in backbones for key in path)
        return x / (1 - (momentum if inside else BatchNorm.momentum))

    def statistics(params: Params, state: State, images: Array) -> dict[str, Tree]:
        zero = jax.tree.map(jnp.zeros_like, state.statistics[TARGET])
        begun = state._replace(statistics={**state.statistics, TARGET: zero})
        _, moved = forward(network, params, begun, images, TARGET)
        target = jax.tree_util.tree_map_with_path(own, moved.statistics[TARGET])
        return {**state.statistics, TARGET: target}

    return statistics
