"""Batch, instance and mixed normalisation, with the activation after it, under one set of
conventions for all backbones.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jreid.models.writings import perturbed

Activation = Literal['none', 'relu', 'relu6']
Channels = Float[Array, ' c']

_GROUPS: contextvars.ContextVar[int] = contextvars.ContextVar('batch_norm_groups', default=1)

_LIMITS: dict[str, tuple[float, float]] = {
    'none': (-jnp.inf, jnp.inf),
    'relu': (0.0, jnp.inf),
    'relu6': (0.0, 6.0),
}


@contextlib.contextmanager
def batch_norm_groups(groups: int) -> Iterator[None]:
    """Lets every `BatchNorm` without groups of its own normalise in so many groups.

    For a training pass of any network: what is traced within has them.
    """
    token = _GROUPS.set(groups)
    try:
        yield
    finally:
        _GROUPS.reset(token)


def current_groups() -> int:
    """Returns the groups of the innermost `batch_norm_groups`, 1 outside."""
    return _GROUPS.get()


def _channel_sum(x: Float[Array, '... c']) -> Channels:
    return jnp.sum(x, axis=tuple(range(x.ndim - 1)))


def _activate(z: Float[Array, '... c'], activation: Activation) -> Float[Array, '... c']:
    return z if activation == 'none' else jnp.clip(z, *_LIMITS[activation])


@partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def normalise(
    x: Float[Array, '... c'],
    scale: Channels,
    bias: Channels,
    epsilon: float,
    activation: Activation,
    dtype: Any,
) -> tuple[Float[Array, '... c'], Channels, Channels]:
    """Computes activation(scale (x - mean) / sqrt(var + epsilon) + bias).

    The mean and the biased variance are the batch's own, over all axes but the last. The backward
    pass keeps x alone and recomputes the rest, 2 passes over memory: a training step is bound by
    memory, not by arithmetic.

    Returns:
      The result in `dtype`, the mean and the variance.
    """
    wide = x.astype(jnp.float32)
    count = x.size // x.shape[-1]
    mean = _channel_sum(wide) / count
    variance = jnp.maximum(_channel_sum(wide * wide) / count - mean * mean, 0.0)
    gain = scale * lax.rsqrt(variance + epsilon)
    out = _activate(wide * gain + (bias - mean * gain), activation).astype(dtype)
    return out, mean, variance


@partial(normalise.defjvp, symbolic_zeros=True)
def _normalise_jvp(
    epsilon: float, activation: Activation, dtype: Any, primals: Any, tangents: Any
) -> tuple[Any, Any]:
    x, scale, bias = primals
    out, mean, variance = normalise(x, scale, bias, epsilon, activation, dtype)
    inverse = lax.rsqrt(variance + epsilon)
    dots = tuple(map(perturbed, tangents))
    tangent, *moments = _tangents(x, scale, bias, mean, inverse, dots, activation)
    return (out, mean, variance), (tangent.astype(dtype), *moments)


@partial(jax.checkpoint, prevent_cse=False, static_argnums=(6,))
def _tangents(
    x: Array, scale: Array, bias: Array, mean: Array, inverse: Array, dots: Any, activation: Any
) -> tuple[Array, Array, Array]:
    """Computes the tangents of the result, the mean and the variance.

    The transpose takes two passes over x and the cotangent.
    """
    wide = x.astype(jnp.float32)
    gain = scale * inverse
    x_dot, scale_dot, bias_dot = dots
    zeros = jnp.zeros_like(mean)
    scale_dot = zeros if scale_dot is None else scale_dot
    bias_dot = zeros if bias_dot is None else bias_dot
    mean_dot = variance_dot = zeros
    if x_dot is not None:
        x_dot = x_dot.astype(jnp.float32)
        count = x.size // x.shape[-1]
        total = _channel_sum(x_dot)
        mean_dot = total / count
        # Not the sum of x_dot (x - mean): the transpose would need x - mean twice, and XLA would
        # keep it in memory beside x.
        variance_dot = 2 * (_channel_sum(x_dot * wide) - mean * total) / count
    slope = inverse * (scale_dot - gain * inverse * variance_dot / 2)
    tangent = slope * (wide - mean) + (bias_dot - gain * mean_dot)
    if x_dot is not None:
        tangent = gain * x_dot + tangent
    if activation != 'none':
        low, high = _LIMITS[activation]
        z = wide * gain + (bias - mean * gain)
        tangent = jnp.where((z > low) & (z < high), tangent, 0.0)
    return tangent, mean_dot, variance_dot


def normalise_in_groups(
    x: Float[Array, 'b ... c'],
    scale: Channels,
    bias: Channels,
    epsilon: float,
    activation: Activation,
    dtype: Any,
    groups: int,
) -> tuple[Float[Array, 'b ... c'], Channels, Channels]:
    """Computes `normalise` of each of `groups` equal runs of consecutive images.

    The mean and the variance that come back are the means of the groups'. A program on 4 GPUs that
    does not synchronise its batch norms normalises 4 groups; this does on any number of devices.

    Raises:
      ValueError: the images do not divide into the groups.
    """
    if groups == 1:
        return normalise(x, scale, bias, epsilon, activation, dtype)
    if len(x) % groups:
        raise ValueError(
            f'a batch of {len(x)} images does not divide into {groups} groups of batch'
            ' normalisation (train.batch_norm_groups); choose a divisor'
        )
    runs = x.reshape(groups, len(x) // groups, *x.shape[1:])
    out, mean, variance = jax.vmap(
        lambda run: normalise(run, scale, bias, epsilon, activation, dtype)
    )(runs)
    return out.reshape(x.shape), jnp.mean(mean, axis=0), jnp.mean(variance, axis=0)


class BatchNorm(nn.Module):
    """Batch norm over all axes but the last, then `activation`; parameters `scale`, `bias`,
    statistics `mean`, `var` in `batch_stats`, all float32.

    With `groups` above 1 each of so many equal runs of the batch's images has its own mean and
    variance, see `normalise_in_groups`; None for those of `batch_norm_groups`, which is 1 outside.

    `momentum` is the share of the old running value that is kept (PyTorch's 0.1 is 0.9 here). The
    running variance is the biased one, where PyTorch keeps the unbiased: imported statistics are
    used as they are.
    """

    activation: Activation = 'none'
    epsilon: float = 1e-5
    momentum: float = 0.9
    use_bias: bool = True
    dtype: Any = jnp.float32
    groups: int | None = None

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
        # A model is initialised from a few images, which need not divide.
        groups = _GROUPS.get() if self.groups is None else self.groups
        out, batch_mean, batch_variance = normalise_in_groups(
            x,
            scale,
            bias,
            self.epsilon,
            self.activation,
            self.dtype,
            1 if self.is_initializing() else groups,
        )
        if not self.is_initializing():
            # No gradient flows through the running averages.
            batch_mean, batch_variance = lax.stop_gradient((batch_mean, batch_variance))
            mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
            variance.value = self.momentum * variance.value + (1 - self.momentum) * batch_variance
        return out


class InstanceNorm(nn.Module):
    """Normalises each channel of each image over height and width, then applies `activation`;
    parameters `scale`, `bias`, float32. It has no statistics and does in training what it does
    after.
    """

    activation: Activation = 'none'
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b h w c']:
        shape = x.shape[-1:]
        scale = self.param('scale', nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros_init(), shape, jnp.float32)
        centred = x.astype(jnp.float32)
        centred = centred - jnp.mean(centred, axis=(1, 2), keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=(1, 2), keepdims=True)
        out = centred * (scale * lax.rsqrt(variance + self.epsilon)) + bias
        return _activate(out, self.activation).astype(self.dtype)


class InstanceBatchNorm(nn.Module):
    """IBN-a: instance norm of the first half of the channels, batch norm of the others, then
    `activation` (Pan et al. 2018, arXiv:1807.09441, Sec. 3.2).
    """

    activation: Activation = 'none'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b h w c']:
        half = x.shape[-1] // 2
        instance = InstanceNorm(self.activation, dtype=self.dtype, name='instance')
        batch = BatchNorm(self.activation, dtype=self.dtype, name='batch')
        return jnp.concatenate(
            [instance(x[..., :half], train), batch(x[..., half:], train)], axis=-1
        )
