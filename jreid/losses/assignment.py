"""Soft assignment of features to centroids, and the divergence of two assignments."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jreid.losses.arrays import AnyArray, Scalar, as_float
from jreid.losses.distances import cross_squared
from jreid.losses.masking import masked_log_softmax


def student_t_assignment(
    features: Float[AnyArray, 'n d'],
    centroids: Float[AnyArray, 'k d'],
    *,
    alpha: Scalar = 1.0,
    where: Bool[AnyArray, ' k'] | None = None,
) -> Float[jax.Array, 'n k']:
    """Log-probabilities log q_ic, q_ic proportional to (1 + ||f_i - mu_c||^2 / alpha)^(-(alpha + 1)
    / 2), rows of q sum to 1.

    `where` keeps centroids: one left out has log-probability -inf, may hold anything and gets a
    gradient of 0, so that one compiled program serves a padded array of centroids. alpha > 0. Needs
    memory for n x k, never for n x k x d; 10,000 centroids are fine.

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
    """KL(p || q) + KL(q || p) = sum over c of (p_c - q_c) (log p_c - log q_c), from
    log-probabilities on the same support.

    Where both are -inf (a class outside the support) the term is 0. Where only one is, the
    divergence is +inf; that term gives no gradient.

    Source: Kullback & Leibler 1951; DMTNet Eq. 10.
    """
    log_p, log_q = as_float(log_p), as_float(log_q)
    p_out, q_out = jnp.isneginf(log_p), jnp.isneginf(log_q)
    inside = ~(p_out | q_out)
    log_p, log_q = jnp.where(inside, log_p, 0), jnp.where(inside, log_q, 0)
    terms = (jnp.exp(log_p) - jnp.exp(log_q)) * (log_p - log_q)
    return jnp.sum(jnp.where(p_out ^ q_out, jnp.inf, terms), axis=-1)
