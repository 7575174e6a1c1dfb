"""Triplet and pair losses, within one labelled set or across a source and a target."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jreid.losses.arrays import AnyArray, Scalar, as_float, masked_mean
from jreid.losses.distances import cross_squared, paired_squared, safe_sqrt, unit


def listed_triplet(
    anchors: Float[AnyArray, 'n d'],
    positives: Float[AnyArray, 'n d'],
    negatives: Float[AnyArray, 'n d'],
    *,
    margin: Scalar = 1.0,
    squared: bool = True,
    reduction: Literal['mean', 'sum'] = 'mean',
) -> Float[jax.Array, '']:
    """Computes the triplet loss of listed triplets.

    The loss is the mean or sum over i of max(0, margin + D(a_i, p_i) - D(a_i, n_i)). D is the
    squared Euclidean distance, or the distance with `squared=False`.

    Source: Schroff, Kalenichenko & Philbin 2015 (FaceNet), Eq. 2; Chen et al. 2017 (MTDnet), Eq. 1,
    both with the sum.
    """
    near, far = paired_squared(anchors, positives), paired_squared(anchors, negatives)
    if not squared:
        near, far = safe_sqrt(near), safe_sqrt(far)
    values = jnp.maximum(margin + near - far, 0)
    return jnp.sum(values) if reduction == 'sum' else masked_mean(values)


def _batch_hard(
    embeddings: Float[jax.Array, 'n d'],
    positive: Bool[jax.Array, 'n n'],
    negative: Bool[jax.Array, 'n n'],
    *,
    margin: Scalar,
    squared: bool = False,
    soft_margin: bool = False,
) -> Float[jax.Array, '']:
    """Computes the batch-hard triplet loss of the pairs that two masks allow.

    Row i of a mask belongs to anchor i. The loss is the mean of max(0, margin + farthest positive -
    closest negative) over the anchors that have both.
    """
    if embeddings.shape[0] == 0:
        return jnp.zeros((), embeddings.dtype)
    # The embedding of a sample that is in no pair may be anything, even NaN.
    used = jnp.any(positive | positive.T | negative | negative.T, axis=1)
    embeddings = jnp.where(used[:, None], embeddings, 0)
    farthest, closest = _hardest(embeddings, positive, negative)
    counted = jnp.any(positive, axis=1) & jnp.any(negative, axis=1)
    # Only the two chosen pairs of an anchor are differentiated.
    to_positive = paired_squared(embeddings, embeddings[farthest])
    to_negative = paired_squared(embeddings, embeddings[closest])
    if not squared:
        to_positive, to_negative = safe_sqrt(to_positive), safe_sqrt(to_negative)
    gap = to_positive - to_negative
    return masked_mean(
        jax.nn.softplus(gap) if soft_margin else jnp.maximum(gap + margin, 0), counted
    )


def _hardest(
    embeddings: Float[jax.Array, 'n d'],
    positive: Bool[jax.Array, 'n n'],
    negative: Bool[jax.Array, 'n n'],
) -> tuple[Int[jax.Array, ' n'], Int[jax.Array, ' n']]:
    """Returns each anchor's farthest positive and closest negative."""
    fixed = jax.lax.stop_gradient(embeddings)
    distances = cross_squared(fixed, fixed)
    # argmax and argmin prefer a NaN, so a diverged embedding is chosen and shows in the loss.
    farthest = jnp.argmax(jnp.where(positive, distances, -jnp.inf), axis=1)
    closest = jnp.argmin(jnp.where(negative, distances, jnp.inf), axis=1)
    return farthest, closest


def batch_hard_triplet(
    embeddings: Float[AnyArray, 'n d'],
    labels: Int[AnyArray, ' n'],
    *,
    margin: Scalar = 0.3,
    squared: bool = False,
    soft_margin: bool = False,
) -> Float[jax.Array, '']:
    """Computes the triplet loss of every anchor's hardest positive and hardest negative.

    The loss is the mean over anchors a of max(0, margin + max_{p: y_p = y_a, p != a} D(a, p) -
    min_{n: y_n != y_a} D(a, n)). With `soft_margin` it is the mean of log(1 + exp(max D(a, p) - min
    D(a, n))), without `margin`. D is the Euclidean distance, or its square with `squared`.

    An anchor without a positive or without a negative is not counted. A label below 0 means "no
    label", as of an image without a pseudo label: the sample is no anchor, positive or negative.

    Source: Hermans, Beyer & Leibe 2017, "In Defense of the Triplet Loss", Eq. 5 and the soft margin
    of section 2.
    Differs from the paper: the mean over the counted anchors instead of the sum over all.
    """
    positive, negative = _pairs(labels)
    return _batch_hard(
        as_float(embeddings),
        positive,
        negative,
        margin=margin,
        squared=squared,
        soft_margin=soft_margin,
    )


def _pairs(labels: Int[AnyArray, ' n']) -> tuple[Bool[jax.Array, 'n n'], Bool[jax.Array, 'n n']]:
    """Returns the masks of positives and negatives among labelled samples."""
    labels = jnp.asarray(labels)
    labelled = labels >= 0
    both = labelled[:, None] & labelled[None, :]
    same = labels[:, None] == labels[None, :]
    return both & same & ~jnp.eye(labels.shape[0], dtype=bool), both & ~same


def soft_batch_hard_triplet(
    embeddings: Float[AnyArray, 'n d'],
    teacher: Float[AnyArray, 'n e'],
    labels: Int[AnyArray, ' n'],
) -> Float[jax.Array, '']:
    """Computes the triplet loss against a teacher's soft triplets.

    T(x) = exp(D(a, n)) / (exp(D(a, p)) + exp(D(a, n))) in the features x, where p and n are anchor
    a's hardest positive and negative in `embeddings`. The loss is the mean over anchors of the
    binary cross-entropy -T(teacher) log T(embeddings) - (1 - T(teacher)) log(1 - T(embeddings)). D
    is the Euclidean distance. No gradient flows to the teacher. With a teacher that is sure, T = 1,
    it is `batch_hard_triplet` with a soft margin.

    Anchors are counted, and labels below 0 left out, as in `batch_hard_triplet`.

    Source: Ge, Chen & Li 2020 (MMT), Eq. 7 and 8, with the hardest pairs of the student as in the
    authors' program.
    """
    positive, negative = _pairs(labels)
    embeddings, teacher = as_float(embeddings), as_float(jax.lax.stop_gradient(teacher))
    if embeddings.shape[0] == 0:
        return jnp.zeros((), embeddings.dtype)
    used = jnp.any(positive | negative, axis=1)
    embeddings, teacher = (jnp.where(used[:, None], x, 0) for x in (embeddings, teacher))
    farthest, closest = _hardest(embeddings, positive, negative)

    def gap(x: Float[jax.Array, 'n d']) -> Float[jax.Array, ' n']:
        """Returns D(a, n) - D(a, p), whose sigmoid is T."""
        near, far = (safe_sqrt(paired_squared(x, x[other])) for other in (farthest, closest))
        return far - near

    own, sure = gap(embeddings), jax.nn.sigmoid(gap(teacher))
    loss = -sure * jax.nn.log_sigmoid(own) - (1 - sure) * jax.nn.log_sigmoid(-own)
    return masked_mean(loss, jnp.any(positive, axis=1) & jnp.any(negative, axis=1))


def centering_constrained_triplet(
    embeddings: Float[AnyArray, 'n d'],
    labels: Int[AnyArray, ' n'],
    is_source: Bool[AnyArray, ' n'],
    *,
    margin: Scalar = 0.3,
    weight: Scalar = 1.0,
    normalise: bool = True,
) -> Float[jax.Array, '']:
    """Computes DIEN's centering constrained cross-domain triplet loss (CCCDTL).

    The loss is the mean over source anchors a of max(0, margin + max_{p in source, y_p = y_a} D(a,
    p) - min_{n in source or target, not y_a} D(a, n)). To it comes weight * D(mean of the source
    embeddings, mean of the target embeddings). D is the Euclidean distance, not squared.

    Every target sample (`is_source` False) is a negative of every source anchor, and its label is
    not read. A source sample with a label below 0 is in no triplet but counts in the mean of its
    domain. If one domain has no samples, the centre term is 0.

    Args:
      weight: of the centre term.
      normalise: divide the embeddings by their L2 norm first; False if they are normalised already.

    Source: Pu et al. 2019, "Learning a Domain-Invariant Embedding for Unsupervised Person
    Re-identification", Eq. 2.
    Differs from the paper: the mean over the counted anchors instead of the sum over all.
    """
    embeddings, labels, source = as_float(embeddings), jnp.asarray(labels), jnp.asarray(is_source)
    if normalise:
        embeddings = unit(embeddings)
    labelled = source & (labels >= 0)
    same = labels[:, None] == labels[None, :]
    other = ~jnp.eye(labels.shape[0], dtype=bool)
    positive = labelled[:, None] & labelled[None, :] & same & other
    negative = labelled[:, None] & ((labelled[None, :] & ~same) | ~source[None, :])
    triplets = _batch_hard(embeddings, positive, negative, margin=margin)
    means = [masked_mean(embeddings, keep[:, None], axis=0) for keep in (source, ~source)]
    centre = jnp.where(jnp.any(source) & jnp.any(~source), safe_sqrt(paired_squared(*means)), 0)
    return triplets + weight * centre


def hhl_triplet(
    embeddings: Float[AnyArray, 'n d'],
    labels: Int[AnyArray, ' n'],
    is_source: Bool[AnyArray, ' n'],
    *,
    margin: Scalar = 0.3,
    target_anchors: bool = True,
    normalise: bool = True,
) -> Float[jax.Array, '']:
    """Computes the batch-hard triplet loss with every target image as its own identity.

    Source anchors are those of `batch_hard_triplet`, with all target images among the negatives. A
    target anchor is its own positive, at distance 0. Its negatives are all labelled source images
    and all other target images, so it adds max(0, margin - min D(a, n)). The labels of target
    samples are not read. A source sample with a label below 0 is left out.

    Args:
      target_anchors: False leaves the target anchors out. The triplets are then those of CCCDTL.
      normalise: divide the embeddings by their L2 norm first, as DIEN does.

    Source: Zhong et al. 2018, "Generalizing a Person Retrieval Model Hetero- and Homogeneously"
    (domain connectedness), in DIEN's ablation "Base+TL" (Pu et al. 2019, Table I). A target image
    is its own positive in the authors' published program.
    Differs from the paper: no camera-style copies of a target image as its positives; a source
    anchor without another image of its identity is not counted.
    """
    embeddings, labels, source = as_float(embeddings), jnp.asarray(labels), jnp.asarray(is_source)
    itself = jnp.eye(labels.shape[0], dtype=bool)
    labelled = source & (labels >= 0)
    same = labelled[:, None] & labelled[None, :] & (labels[:, None] == labels[None, :])
    takes_part = labelled | ~source
    # Before the normalisation, whose derivative at a NaN that is left out would be NaN.
    embeddings = jnp.where(takes_part[:, None], embeddings, 0)
    if normalise:
        embeddings = unit(embeddings)
    positive = (same & ~itself) | (itself & ~source[:, None])
    negative = takes_part[:, None] & takes_part[None, :] & ~same & ~itself
    if not target_anchors:
        positive, negative = positive & labelled[:, None], negative & labelled[:, None]
    return _batch_hard(embeddings, positive, negative, margin=margin)


def pair_contrastive(
    x: Float[AnyArray, 'n d'],
    y: Float[AnyArray, 'n d'],
    same: Bool[AnyArray, ' n'] | Int[AnyArray, ' n'] | Float[AnyArray, ' n'],
    *,
    margin: Scalar = 1.0,
) -> Float[jax.Array, '']:
    """Computes the contrastive loss of pairs.

    The loss is the mean over the pairs of s/2 d^2 + (1 - s)/2 max(0, margin - d)^2. Here s = same_i
    is 0 or 1, and d = ||x_i - y_i||. In MTDnet-cross x and y are the two networks' fc7 responses to
    a source pair and a target pair, and s is the XNOR of the pairs' labels.

    Source: Hadsell, Chopra & LeCun 2006, Eq. 4; Chen et al. 2017 (MTDnet), Eq. 4.
    Differs from the paper: no minus sign before the sum, which is a misprint in MTDnet; the mean
    over the pairs instead of their sum.
    """
    similar = as_float(same)
    squared = paired_squared(x, y)
    short = jnp.maximum(margin - safe_sqrt(squared), 0)
    return masked_mean(similar / 2 * squared + (1 - similar) / 2 * jnp.square(short))
