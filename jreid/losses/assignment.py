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
    scale: Scalar = 1.0,
    where: Bool[AnyArray, ' k'] | None = None,
) -> Float[jax.Array, 'n k']:
    """Computes log-probabilities of features belonging to centroids under Student's t.

    q_ic is proportional to (1 + ||f_i - mu_c||^2 / (alpha scale^2))^(-(alpha + 1) / 2), and every
    row of q sums to 1. The result is log q. Memory is of order n x k, never n x k x d.

    Args:
      alpha: degrees of freedom, above 0.
      scale: the length that distances are measured in, above 0.
      where: centroids to keep. The others may hold anything; they have log-probability -inf and
        gradient 0. One compiled program thus serves a padded array of centroids.

    Source: Xie, Girshick & Farhadi 2016 (DEC), Eq. 1; DMTNet Eq. 9.
    """
    features, centroids = as_float(features), as_float(centroids)
    if where is not None:
        centroids = jnp.where(jnp.asarray(where)[:, None], centroids, 0)
    scaled = cross_squared(features, centroids) / (alpha * scale * scale)
    return masked_log_softmax(-(alpha + 1) / 2 * jnp.log1p(scaled), where)


def sharpened_assignment(log_q: Float[AnyArray, 'n k']) -> Float[jax.Array, 'n k']:
    """Computes DEC's target of an assignment: what is likely becomes likelier.

    p_ic is proportional to q_ic^2 / sum_j q_jc, and every row of p sums to 1; the division keeps
    large clusters from drawing all. Takes log q and returns log p; a class that no row supports
    (-inf throughout) stays -inf, with gradient 0.

    Source: Xie, Girshick & Farhadi 2016 (DEC), Eq. 3. There the sum is over the whole set; here it
    is over the rows given.
    """
    log_q = as_float(log_q)
    supported = ~jnp.isneginf(log_q)
    share = _log_sum(log_q)
    inside = jnp.where(supported, log_q, 0)
    return masked_log_softmax(2 * inside - jnp.where(jnp.isneginf(share), 0, share), supported)


def rank_profile(log_q: Float[AnyArray, 'n k']) -> Float[jax.Array, ' k']:
    """Computes how sure an assignment is: the log of the mean probability by rank.

    Entry r is the log of the mean over rows of a row's r-th largest probability. So entry 0 says
    how much goes to the likeliest class, whichever it is. Entries sum to 1 as probabilities.
    Profiles of two sets compare even where the sets have no class in common. That of no row is 0
    throughout.
    """
    log_q = as_float(log_q)
    return mean_assignment(-jnp.sort(-log_q, axis=-1))


def mean_assignment(log_q: Float[AnyArray, 'n k']) -> Float[jax.Array, ' k']:
    """Computes the log of the mean of rows of probabilities; 0 throughout where there is no row.

    A class that no row supports (-inf throughout) stays -inf, with gradient 0.
    """
    log_q = as_float(log_q)
    return _log_sum(log_q) - jnp.log(len(log_q)) if len(log_q) else jnp.zeros(log_q.shape[1:])


def _log_sum(log_q: Float[jax.Array, 'n k']) -> Float[jax.Array, ' k']:
    """Computes the log of the columns' sums; -inf, with gradient 0, where a column is -inf."""
    supported = ~jnp.isneginf(log_q)
    some = jnp.any(supported, axis=0)
    peak = jax.lax.stop_gradient(jnp.max(log_q, axis=0, where=supported, initial=-jnp.inf))
    shifted = jnp.where(supported, log_q, 0) - jnp.where(some, peak, 0)
    total = jnp.sum(jnp.where(supported, jnp.exp(jnp.where(supported, shifted, 0)), 0), axis=0)
    return jnp.where(some, jnp.log(jnp.where(some, total, 1)) + jnp.where(some, peak, 0), -jnp.inf)


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
