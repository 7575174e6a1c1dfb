"""Cross-entropies: of classes, of soft targets, and of independent binary labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jreid.losses.arrays import AnyArray, as_float
from jreid.losses.masking import masked_log_softmax, masked_mean


def cross_entropy(
    logits: Float[AnyArray, '*n c'],
    labels: Int[AnyArray, '*n'],
    *,
    label_smoothing: float | int = 0.0,
    where: Bool[AnyArray, '*n'] | None = None,
    valid: Bool[AnyArray, ' c'] | None = None,
) -> Float[jax.Array, '']:
    """Mean over the samples of -sum_c t_c log softmax(logits)_c, with targets t = (1 - e)
    onehot(label) + e / C.

    Leading axes are samples: `[B, C]` for identities, `[B, H, W, C]` for the pixels of a parsing
    head. `where` keeps samples; a label below 0 means "no label" and leaves its sample out too.
    `valid` keeps classes: one left out does not exist, for the softmax and for the smoothing (C
    counts the valid ones), so that a classifier can be padded to a fixed width. e =
    `label_smoothing` in [0, 1].

    A label of a class that is not valid gives inf, one of at least the width of the logits gives
    NaN. Source: DMTNet Eq. 2, TJ-AIDL Eq. 1; the smoothing by Szegedy et al. 2016, section 7.
    """
    labels = jnp.asarray(labels)
    keep = labels >= 0 if where is None else (labels >= 0) & jnp.asarray(where)
    # The samples left out are replaced before the softmax: a NaN or inf there would reach the
    # gradient as 0 * NaN.
    log_p = masked_log_softmax(jnp.where(keep[..., None], as_float(logits), 0), valid)
    picked = jnp.take_along_axis(
        log_p, jnp.maximum(labels, 0)[..., None], axis=-1, mode='fill', fill_value=jnp.nan
    )[..., 0]
    loss = -picked
    if label_smoothing:
        spread = masked_mean(-log_p, valid, axis=-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    return masked_mean(loss, keep)


def soft_cross_entropy(
    logits: Float[AnyArray, '*n c'],
    targets: Float[AnyArray, '*n c'],
    *,
    where: Bool[AnyArray, '*n'] | None = None,
) -> Float[jax.Array, '']:
    """Mean over the samples that `where` keeps of -sum_c targets_c log softmax(logits)_c; `targets`
    are probabilities.

    Source: PTL's soft attribute labels (2020); with one-hot targets it is `cross_entropy`.
    """
    logits, targets = as_float(logits), as_float(targets)
    if where is not None:
        keep = jnp.asarray(where)[..., None]
        logits, targets = jnp.where(keep, logits, 0), jnp.where(keep, targets, 0)
    return masked_mean(-jnp.sum(targets * jax.nn.log_softmax(logits, axis=-1), axis=-1), where)


def binary_cross_entropy(
    logits: Float[AnyArray, '*n'],
    targets: Float[AnyArray, '*n'] | Int[AnyArray, '*n'] | Bool[AnyArray, '*n'],
    *,
    where: Bool[AnyArray, '...'] | None = None,
) -> Float[jax.Array, '']:
    """Mean over all entries that `where` keeps of -(t log sigmoid(l) + (1 - t) log(1 -
    sigmoid(l))); t in [0, 1], soft labels too.

    `where` broadcasts against the logits: `[B, 1]` keeps samples, `[M]` attributes.

    Source: TJ-AIDL Eq. 2 and 5, DIEN Eq. 3, MTDnet Eq. 2.
    Differs from the paper: TJ-AIDL sums over the M attributes of a sample; the mean is that divided
    by M.
    """
    logits, targets = as_float(logits), as_float(targets)
    if where is not None:
        keep = jnp.broadcast_to(jnp.asarray(where), logits.shape)
        logits, targets = jnp.where(keep, logits, 0), jnp.where(keep, targets, 0)
    # log(1 - sigmoid(l)) = log sigmoid(-l): neither term cancels or overflows at large logits.
    return masked_mean(
        -(targets * jax.nn.log_sigmoid(logits) + (1 - targets) * jax.nn.log_sigmoid(-logits)), where
    )
