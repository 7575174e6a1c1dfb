"""Losses against labels: cross-entropies, and attention supervised by attributes."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jreid.losses.arrays import AnyArray, as_float, masked_log_softmax, masked_mean
from jreid.losses.distances import safe_sqrt


def cross_entropy(
    logits: Float[AnyArray, '*n c'],
    labels: Int[AnyArray, '*n'],
    *,
    label_smoothing: float | int = 0.0,
    where: Bool[AnyArray, '*n'] | None = None,
    valid: Bool[AnyArray, ' c'] | None = None,
) -> Float[jax.Array, '']:
    """Computes the mean softmax cross-entropy of integer labels.

    A sample's loss is -sum_c t_c log softmax(logits)_c with targets t = (1 - e) onehot(label) + e /
    C and e = `label_smoothing`. The leading axes are samples: `[B, C]` for identities, `[B, H, W,
    C]` for the pixels of a parsing head.

    Args:
      labels: class numbers. A label below 0 means "no label" and leaves its sample out. The label
        of a class that is not valid gives inf, and one beyond the width of the logits NaN.
      label_smoothing: in [0, 1].
      where: samples to keep.
      valid: classes to keep. The others enter neither the softmax nor the smoothing, whose C counts
        valid classes, so that a classifier can be padded to a fixed width.

    Source: DMTNet Eq. 2, TJ-AIDL Eq. 1; the smoothing by Szegedy et al. 2016, section 7.
    """
    labels = jnp.asarray(labels)
    keep = labels >= 0 if where is None else (labels >= 0) & jnp.asarray(where)
    # Logits of samples left out are replaced before the softmax: a NaN or inf there would reach
    # the gradient as 0 * NaN.
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
    """Computes the mean softmax cross-entropy of soft targets.

    A sample's loss is -sum_c targets_c log softmax(logits)_c; `targets` are probabilities and
    `where` keeps samples. With one-hot targets it equals `cross_entropy`.

    Source: PTL's soft attribute labels (2020).
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
    """Computes the mean cross-entropy of independent binary labels.

    The loss of an entry is -(t log sigmoid(l) + (1 - t) log(1 - sigmoid(l))) with t in [0, 1]. Soft
    labels are allowed. `where` broadcasts against the logits: `[B, 1]` keeps samples, `[M]`
    attributes.

    Source: TJ-AIDL Eq. 2 and 5, DIEN Eq. 3, MTDnet Eq. 2.
    Differs from the paper: TJ-AIDL sums over the M attributes of a sample; this mean is that sum
    divided by M.
    """
    logits, targets = as_float(logits), as_float(targets)
    if where is not None:
        keep = jnp.broadcast_to(jnp.asarray(where), logits.shape)
        logits, targets = jnp.where(keep, logits, 0), jnp.where(keep, targets, 0)
    # log(1 - sigmoid(l)) = log sigmoid(-l): neither term cancels or overflows at large logits.
    return masked_mean(
        -(targets * jax.nn.log_sigmoid(logits) + (1 - targets) * jax.nn.log_sigmoid(-logits)), where
    )


def attribute_attention(
    attention: Float[AnyArray, 'b m m'],
    attributes: Float[AnyArray, 'b m'] | Int[AnyArray, 'b m'] | Bool[AnyArray, 'b m'],
    *,
    where: Bool[AnyArray, ' b'] | None = None,
) -> Float[jax.Array, '']:
    """Computes the mean Frobenius norm ||U - U_a||_F between attention and attribute labels.

    U_a has the label vector as every column: U_a[k, j] = a_k.

    Args:
      attention: U, in [0, 1] after the sigmoid.
      attributes: a, 0 or 1, or soft labels between.
      where: images to keep. The others, for example those without annotation, may have NaN labels.

    Source: DMTNet (2019), Eq. 3.
    """
    labels = as_float(attributes)
    if where is not None:
        # Before the norm: a NaN behind the mask would still reach the gradient.
        labels = jnp.where(jnp.asarray(where)[:, None], labels, 0)
    difference = as_float(attention) - labels[:, :, None]
    return masked_mean(safe_sqrt(jnp.sum(jnp.square(difference), axis=(1, 2))), where)
