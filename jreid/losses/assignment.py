"""Soft assignment of features to centroids, and the divergence between two assignments."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jreid.losses.arrays import AnyArray, Scalar, as_float, masked_log_softmax
from jreid.losses.distances import cross_squared


def student_t_assignment(
    features: Float[AnyArray, 'n d'],
    centroids: Float[AnyArray, 'k d'],
    *,
    alpha: Scalar = 1.0,
    where: Bool[AnyArray, ' k'] | None = None,
) -> Float[jax.Array, 'n k']:
    """Computes log-probabilities of features belonging to centroids under Student's t.

    q_ic is proportional to (1 + ||f_i - mu_c||^2 / alpha)^(-(alpha + 1) / 2), and every row of q
    sums to 1. The result is log q. Memory is of order n x k, never n x k x d.

    Args:
      alpha: degrees of freedom, above 0.
      where: centroids to keep. The others may hold anything; they have log-probability -inf and
        gradient 0. One compiled program thus serves a padded array of centroids.

    Source: Xie, Girshick & Farhadi 2016 (DEC), Eq. 1; DMTNet Eq. 9.
    """
    features, centroids = as_float(features), as_float(centroids)
    if where is not None:
        centroids = jnp.where(jnp.asarray(where)[:, None], centroids, 0)
    logits = -(alpha + 1) / 2 * jnp.log1p(cross_squared(features, centroids) / alpha)
    return masked_log_softmax(logits, where)


def symmetric_kl(
    log_p: Float[AnyArray, '*n c'], log_q: Float[AnyArray, '*n c']
) -> Float[jax.Array, '*n']:
    """Computes KL(p || q) + KL(q || p) of every row of log-probabilities.

    The divergence is the sum over c of (p_c - q_c) (log p_c - log q_c). A class where both are -inf
    adds 0. If only one of them is -inf, the divergence is +inf, and the class adds no gradient.

    Source: Kullback & Leibler 1951; DMTNet Eq. 10.
    """
    log_p, log_q = as_float(log_p), as_float(log_q)
    p_out, q_out = jnp.isneginf(log_p), jnp.isneginf(log_q)
    inside = ~(p_out | q_out)
    log_p, log_q = jnp.where(inside, log_p, 0), jnp.where(inside, log_q, 0)
    terms = (jnp.exp(log_p) - jnp.exp(log_q)) * (log_p - log_q)
    return jnp.sum(jnp.where(p_out ^ q_out, jnp.inf, terms), axis=-1)
