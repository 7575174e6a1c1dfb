"""One network, two domains: running a module with the batch-norm statistics of the domain that the
images come from.

The affine parameters of batch normalisation are shared, the statistics are kept apart, `model_state
= {'source': ..., 'target': ...}`. This is what makes a model's retrieval on the target independent
of the source's light and colour, and it makes AdaBN (Li et al. 2017, "Revisiting Batch
Normalization For Practical Domain Adaptation") the special case of a model trained on the source
alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.methods.contract import SOURCE, TARGET, Array, Tree
from jreid.models.norm import BatchNorm


def initial(network: nn.Module, key: Array, image_size: tuple[int, int]) -> tuple[Tree, Tree]:
    """(params, model_state) of a network for images of `image_size`; both domains start from the
    same statistics.
    """
    variables = jax.jit(lambda k: network.init(k, jnp.zeros((2, *image_size, 3)), train=False))(key)
    statistics = variables.get('batch_stats', {})
    # Two buffers, not one twice: the train step donates its state.
    return variables['params'], {SOURCE: statistics, TARGET: jax.tree.map(jnp.copy, statistics)}


def forward(
    network: nn.Module, params: Tree, model_state: Tree, images: Array, domain: str, **options: Any
) -> tuple[Any, Tree]:
    """Training pass of one domain's images: (outputs, model_state with that domain's statistics
    moved); `options` go to the network.
    """
    outputs, updated = network.apply(
        {'params': params, 'batch_stats': model_state[domain]},
        images,
        train=True,
        mutable=['batch_stats'],
        **options,
    )
    return outputs, {**model_state, domain: updated.get('batch_stats', {})}


def forward_jointly(
    network: nn.Module,
    params: Tree,
    model_state: Tree,
    source: Array,
    target: Array,
    **options: Any,
) -> tuple[Any, Any, Tree]:
    """Training pass of both domains as one batch with common statistics: (outputs of source, of
    target, model_state); `options` go to the network.
    """
    outputs, model_state = forward(
        network, params, model_state, jnp.concatenate([source, target]), TARGET, **options
    )
    first, second = (
        jax.tree.map(lambda x: x[: len(source)], outputs),
        jax.tree.map(lambda x: x[len(source) :], outputs),
    )
    return first, second, {SOURCE: model_state[TARGET], TARGET: model_state[TARGET]}


def inference(
    network: nn.Module, variables: Tree, images: Array, domain: str, **options: Any
) -> Any:
    """Outputs with the running statistics of `domain`; `options` go to the network."""
    return network.apply(
        {'params': variables['params'], 'batch_stats': variables['model_state'][domain]},
        images,
        train=False,
        **options,
    )


def batch_statistics(
    network: nn.Module, momentum: float, *, backbones: tuple[str, ...] = ('backbone',)
) -> Callable[[Tree, Array], Tree]:
    """A function (variables, images) -> model_state whose target statistics are those of `images`
    alone.

    A training pass from statistics of zero leaves (1 - momentum) times the batch's own; dividing by
    (1 - momentum) gives them.

    Args:
      momentum: of the batch normalisation in the parts `backbones`; everywhere else it is
        `BatchNorm`'s default.
    """

    def own(path: tuple[Any, ...], x: Array) -> Array:
        return x / (
            1
            - (
                momentum
                if any(getattr(key, 'key', '') in backbones for key in path)
                else BatchNorm.momentum
            )
        )

    def statistics(variables: Tree, images: Array) -> Tree:
        state = variables['model_state']
        zero = {**state, TARGET: jax.tree.map(jnp.zeros_like, state[TARGET])}
        _, moved = forward(network, variables['params'], zero, images, TARGET)
        return {**state, TARGET: jax.tree_util.tree_map_with_path(own, moved[TARGET])}

    return statistics
