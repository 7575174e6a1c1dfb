"""Blocks whose inside is computed again in the backward pass: memory for time."""

from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

Maps = Float[Array, 'b h w c']


def block(network: Any, apply: Callable[[Any, Maps], Maps], x: Maps, train: bool) -> Maps:
    """Computes apply(network, x), again in the backward pass where `network.remat` is set.

    Then only x is kept for the backward pass.

    The parameters and the values are those without it. A whole network that is recomputed as one
    block would save nothing: its inside would be in memory at once when the backward pass comes to
    it.

    Args:
      apply: (network, x) -> the block's output; it takes its layers from the network it is given.
    """
    if network.remat and train and not network.is_initializing():
        return nn.remat(apply)(network, x)
    return apply(network, x)


def apply_blocks(network: Any, indices: Iterable[int], x: Maps, train: bool) -> Maps:
    """Applies some of `network.blocks` in turn, each as a `block`."""
    for index in indices:
        x = _apply_block(network, index, x, train)
    return x


def _apply_block(network: Any, index: int, x: Maps, train: bool) -> Maps:
    return block(network, lambda own, y: own.blocks[index](y, train), x, train)
