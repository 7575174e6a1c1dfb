"""Batch normalisation, with the activation after it, under one set of conventions for all
backbones.
"""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Activation = Literal['none', 'relu', 'relu6']
Channels = Float[Array, ' c']

_LIMITS: dict[str, tuple[float, float]] = {
    'none': (-jnp.inf, jnp.inf),
    'relu': (0.0, jnp.inf),
    'relu6': (0.0, 6.0),
}


def _channel_sum(x: Float[Array, '... c']) -> Channels:
    return jnp.sum(x, axis=tuple(range(x.ndim - 1)))


def _activate(z: Float[Array, '... c'], activation: Activation) -> Float[Array, '... c']:
    return z if activation == 'none' else jnp.clip(z, *_LIMITS[activation])


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def normalise(
    x: Float[Array, '... c'],
    scale: Channels,
    bias: Channels,
    epsilon: float,
    activation: Activation,
    dtype: Any,
) -> tuple[Float[Array, '... c'], Channels, Channels]:
    """activation(scale (x - mean) / sqrt(var + epsilon) + bias) with the batch's own mean and
    biased variance over all axes but the last.

    Returns (the result in `dtype`, mean, variance), the statistics for the running averages: no
    gradient flows through those two. The backward pass keeps x alone and recomputes the rest, 2
    passes over memory: a training step is bound by memory, not by arithmetic.
    """
    return _normalise_forward(x, scale, bias, epsilon, activation, dtype)[0]


def _normalise_forward(
    x: Array, scale: Array, bias: Array, epsilon: float, activation: Activation, dtype: Any
) -> tuple[Any, Any]:
    wide = x.astype(jnp.float32)
    count = x.size // x.shape[-1]
    mean = _channel_sum(wide) / count
    variance = jnp.maximum(_channel_sum(wide * wide) / count - mean * mean, 0.0)
    inverse = lax.rsqrt(variance + epsilon)
    gain = scale * inverse
    out = _activate(wide * gain + (bias - mean * gain), activation).astype(dtype)
    return (out, mean, variance), (x, scale, bias, mean, inverse)


def _normalise_backward(
    epsilon: float, activation: Activation, dtype: Any, residuals: Any, cotangents: Any
) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, inverse = residuals
    wide, cotangent = x.astype(jnp.float32), cotangents[0].astype(jnp.float32)
    count = x.size // x.shape[-1]
    gain = scale * inverse
    if activation != 'none':
        low, high = _LIMITS[activation]
        z = wide * gain + (bias - mean * gain)
        cotangent = jnp.where((z > low) & (z < high), cotangent, 0.0)
    total, moment = _channel_sum(cotangent), _channel_sum(cotangent * (wide - mean))
    slope = -gain * inverse * inverse * moment / count
    x_gradient = gain * cotangent + (slope * wide - (gain * total / count + slope * mean))
    return x_gradient.astype(x.dtype), moment * inverse, total


normalise.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """Batch norm over all axes but the last, then `activation`; parameters `scale`, `bias`,
    statistics `mean`, `var` in `batch_stats`, all float32.

    `momentum` is the share of the old running value that is kept (PyTorch's 0.1 is 0.9 here). The
    running variance is the biased one, where PyTorch keeps the unbiased: imported statistics are
    used as they are.
    """

    activation: Activation = 'none'
    epsilon: float = 1e-5
    momentum: float = 0.9
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '... c'], train: bool) -> Float[Array, '... c']:
        shape = x.shape[-1:]
        scale = self.param('scale', nn.initializers.ones_init(), shape, jnp.float32)
        bias = (
            self.param('bias', nn.initializers.zeros_init(), shape, jnp.float32)
            if self.use_bias
            else jnp.zeros(shape, jnp.float32)
        )
        mean = self.variable('batch_stats', 'mean', jnp.zeros, shape, jnp.float32)
        variance = self.variable('batch_stats', 'var', jnp.ones, shape, jnp.float32)
        if not train:
            gain = scale * lax.rsqrt(variance.value + self.epsilon)
            return _activate(
                x.astype(jnp.float32) * gain + (bias - mean.value * gain), self.activation
            ).astype(self.dtype)
        out, batch_mean, batch_variance = normalise(
            x, scale, bias, self.epsilon, self.activation, self.dtype
        )
        if not self.is_initializing():
            mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
            variance.value = self.momentum * variance.value + (1 - self.momentum) * batch_variance
        return out
