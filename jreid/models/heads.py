"""What follows a backbone's map: pooling, the batch-norm neck and the classifier of identities."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jreid.models.norm import BatchNorm

Maps = Float[Array, 'b h w c']
Pooled = Float[Array, 'b d']


def average_pool(maps: Maps) -> Float[Array, 'b c']:
    """Averages over height and width."""
    return jnp.mean(maps, axis=(1, 2))


def max_pool(maps: Maps) -> Float[Array, 'b c']:
    """Takes the maximum over height and width.

    Of equal values the first gets the gradient, as in PyTorch.
    """
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    # Chosen by place. The gradient of jnp.max compares the values with their largest, and a
    # compiler that computes the maps anew for it may round them otherwise. Then none equals it,
    # 0 / 0 (XLA's CPU at optimisation level 0).
    first = jnp.argmax(flat, axis=1, keepdims=True)
    place = jax.lax.broadcasted_iota(first.dtype, flat.shape, 1)
    return jnp.sum(jnp.where(place == first, flat, 0), axis=1)


def average_and_max_pool(maps: Maps) -> Float[Array, 'b 2*c']:
    """Joins average and maximum over height and width, twice as wide."""
    return jnp.concatenate([average_pool(maps), max_pool(maps)], axis=-1)


def gem_pool(
    maps: Maps, power: float | Float[Array, ''] = 3.0, *, epsilon: float = 1e-6
) -> Float[Array, 'b c']:
    """Computes the generalised mean (mean of max(x, epsilon)^p)^(1/p) over height and width.

    It is the average at p = 1 and tends to the maximum as p grows (Radenovic et al. 2018,
    arXiv:1711.02512, Eq. 3).
    """
    return jnp.mean(jnp.maximum(maps, epsilon) ** power, axis=(1, 2)) ** (1.0 / power)


POOLINGS: dict[str, Callable[[Maps], Pooled]] = {
    'average': average_pool,
    'max': max_pool,
    'average_max': average_and_max_pool,
    'gem': gem_pool,
}


class GeM(nn.Module):
    """`gem_pool` with a learned `power`."""

    initial: float = 3.0

    @nn.compact
    def __call__(self, maps: Maps) -> Float[Array, 'b c']:
        return gem_pool(maps, self.param('power', nn.initializers.constant(self.initial), ()))


class BNNeck(nn.Module):
    """Batch norm without a learned bias between the metric feature and the classifier's (Luo et
    al. 2019, arXiv:1903.07071, Sec. 3.6); with one for `use_bias`.
    """

    use_bias: bool = False

    @nn.compact
    def __call__(self, features: Pooled, train: bool = False) -> Pooled:
        return BatchNorm(use_bias=self.use_bias, name='bn')(features, train)


class Classifier(nn.Module):
    """Logits [b, classes] without a bias; where `valid` [classes] is False the logit is -1e9, so
    that the class gets no probability and no gradient.
    """

    classes: int

    @nn.compact
    def __call__(
        self, features: Pooled, valid: Bool[Array, ' classes'] | None = None
    ) -> Float[Array, 'b classes']:
        logits = nn.Dense(
            self.classes, use_bias=False, kernel_init=nn.initializers.normal(0.001), name='fc'
        )(features)
        return logits if valid is None else jnp.where(valid, logits, -1e9)
