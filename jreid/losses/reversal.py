"""Gradient reversal: the identity forward, the negated and scaled gradient backward."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jreid.losses.arrays import AnyArray, Scalar, as_float


@jax.custom_vjp
def _reverse(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x


def _forward(x: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Through _reverse again and not x itself, so that a second derivative reverses too, as it does
    # for nested autograd functions in torch.
    return _reverse(x, scale), scale


def _backward(scale: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (-scale * g).astype(g.dtype), jnp.zeros_like(scale)


_reverse.defvjp(_forward, _backward)


def gradient_reversal(
    x: Float[AnyArray, '*shape'], scale: Scalar = 1.0
) -> Float[jax.Array, '*shape']:
    """Returns x; its gradient g becomes -scale * g on the way back.

    `scale` may be traced, as the value of a schedule inside a jitted step, and gets no gradient.
    Every derivative through the layer has the factor -scale: with s = scale, the second derivative
    of h(gradient_reversal(x, s)) is s^2 h''(x).

    Source: Ganin & Lempitsky 2015, "Unsupervised Domain Adaptation by Backpropagation", section 3.
    """
    return _reverse(jnp.asarray(x), jnp.asarray(scale, jnp.float32))


def reversal_schedule(progress: Scalar | Float[AnyArray, '*n']) -> Float[jax.Array, '*n']:
    """Computes 2 / (1 + exp(-10 p)) - 1 of the training progress p in [0, 1].

    The value is 0 at the start and 0.9999 at the end.

    Source: Ganin & Lempitsky 2015, section 5.2 (gamma 10).
    """
    # The same function as tanh(5 p), which does not overflow.
    return jnp.tanh(5 * as_float(progress))
