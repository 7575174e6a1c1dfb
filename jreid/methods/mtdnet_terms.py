"""MTDnet's terms: the triplet and pair losses of its two tasks, and the coupling of two copies.

Equation numbers are those of Chen, Chen, Zhang & Huang, AAAI 2017; see `jreid.methods.mtdnet`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.losses import cross_entropy, listed_triplet, pair_contrastive
from jreid.losses.distances import unit
from jreid.methods.contract import SOURCE, TARGET, Array, Batch, Context, Outputs, State, Term
from jreid.methods.settings.mtdnet import Settings


def task_terms(settings: Settings, stream: str, *, prefix: str = '') -> dict[str, Term]:
    """Returns L_trp (Eq. 1) and L_cls (Eq. 2), those that the form has, weighted.

    Args:
      stream: whose outputs, for groups (A1, A2, B2, ...).
      prefix: of the terms' names.
    """
    s = settings

    def triplet(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        loss = listed_triplet(
            *_triplets(outputs[stream]['feature'], s),
            margin=s.triplet_margin,
            reduction=s.triplet_reduction,
        )
        return s.weight_triplet * loss

    def pairs(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        logits, same = _counted_logits(outputs[stream]['logits'], s)
        return s.weight_classification * cross_entropy(logits, same)

    terms: dict[str, Term] = {}
    if s.form != 'classification':
        terms[f'{prefix}triplet'] = triplet
    if s.form != 'ranking':
        terms[f'{prefix}pairs'] = pairs
    return terms


def task_metrics(settings: Settings, stream: str) -> dict[str, Term]:
    """Returns the share of triplets in order and the accuracy of the pairs."""

    def in_order(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        anchor, *others = _triplets(outputs[stream]['feature'], settings)
        near, far = (jnp.sum(jnp.square(anchor - other), axis=-1) for other in others)
        return jnp.mean(near < far)

    def accuracy(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        logits, same = _counted_logits(outputs[stream]['logits'], settings)
        return jnp.mean(jnp.argmax(logits, axis=-1) == same)

    metrics: dict[str, Term] = {}
    if settings.form != 'classification':
        metrics['triplets_in_order'] = in_order
    if settings.form != 'ranking':
        metrics['pair_accuracy'] = accuracy
    return metrics


def _triplets(features: Array, settings: Settings) -> tuple[Array, Array, Array]:
    """Returns anchors, positives and negatives of groups (A1, A2, B2, ...), row by row."""
    negatives = settings.triplets_per_pair
    features = unit(features) if settings.normalise else features
    grouped = features.reshape(-1, 2 + negatives, features.shape[-1])
    anchor, positive = (jnp.repeat(grouped[:, i], negatives, axis=0) for i in (0, 1))
    return anchor, positive, grouped[:, 2:].reshape(anchor.shape)


def _counted_logits(logits: Array, settings: Settings) -> tuple[Array, np.ndarray]:
    negatives = settings.triplets_per_pair
    rows, same = counted_pairs(len(logits) // (1 + negatives), negatives)
    return logits[rows], same.astype(np.int32)


def counted_pairs(groups: int, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of all triplets: rows among the network's pairs, and which are positive.

    The network's pairs are (A1, A2), (A1, B2), (A1, B2), ... of each group. The triplets of a group
    count its positive pair once each. Both results have the shape [groups * 2 * negatives].
    """
    rows = np.concatenate([np.zeros(negatives, int), 1 + np.arange(negatives)])
    rows = (np.arange(groups)[:, None] * (1 + negatives) + rows).ravel()
    return rows, rows % (1 + negatives) == 0


def keys_of(context: Context) -> dict[str, Array]:
    """Returns the step's keys of the cross-domain form: one per copy, and the coupling's."""
    target, source, coupled = jax.random.split(context.key, 3)
    return {TARGET: target, SOURCE: source, 'coupling': coupled}


def contrastive_term(settings: Settings) -> Term:
    """Returns L_cts of the two copies' responses, weighted; see `coupling`."""
    s = settings

    def responses(outputs: Outputs, domain: str) -> Array:
        fc7 = outputs[domain]['responses']
        return fc7 if s.coupled == 'fc7' else nn.relu(fc7)

    def contrastive(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        loss = coupling(
            keys_of(context)['coupling'],
            responses(outputs, SOURCE),
            responses(outputs, TARGET),
            negatives=s.triplets_per_pair,
            margin=s.contrastive_margin,
        )
        return s.weight_contrastive * loss

    return contrastive


def coupling(key: Array, source: Array, target: Array, *, negatives: int, margin: float) -> Array:
    """Computes L_cts (Eq. 3 and 4) of the fc7 responses to the two domains' pairs.

    Both pairs of a target triplet, the positive and the negative one, meet the same counted pair of
    the source, drawn at random without repeats. The label is the XNOR of the two pairs' labels. So
    one of the two agrees with the source's pair, as in the authors' program.

    Args:
      source, target: responses [groups * (1 + negatives), D].
    """
    groups = len(source) // (1 + negatives)
    rows, same = (jnp.asarray(each) for each in counted_pairs(groups, negatives))
    drawn = jax.random.permutation(key, len(rows))[: groups * negatives]
    # In the order of the target's counted pairs: the positives of a group, then its negatives.
    drawn = jnp.tile(drawn.reshape(groups, negatives), 2).ravel()
    agree = same == same[drawn]
    return pair_contrastive(unit(source)[rows[drawn]], unit(target)[rows], agree, margin=margin)
