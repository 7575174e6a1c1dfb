"""Batch normalisation with one set of conventions for all backbones."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class BatchNorm(nn.Module):
    """Batch norm over all axes but the last, with parameters `scale`, `bias` and running `mean`, `var` (collection `batch_stats`), all float32.

    `momentum` is the share of the old running value that is kept (PyTorch's 0.1 is 0.9 here). The running variance is the biased one, where PyTorch
    keeps the unbiased: imported statistics are used as they are.
    """

    epsilon: float = 1e-5
    momentum: float = 0.9
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '... c'], train: bool) -> Float[Array, '... c']:
        norm = nn.BatchNorm(use_running_average=not train, momentum=self.momentum, epsilon=self.epsilon, use_bias=self.use_bias, dtype=self.dtype, name='norm')
        nn.share_scope(self, norm)
        return norm(x)
