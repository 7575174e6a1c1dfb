"""MMT's losses: the strong baseline's on the source, hard and soft ones on the target."""

import jax
import jax.numpy as jnp

from jreid.losses import (
    batch_hard_triplet,
    cross_entropy,
    soft_batch_hard_triplet,
    soft_cross_entropy,
)
from jreid.methods.common import baseline
from jreid.methods.contract import SOURCE, Array, Batch, Context, Outputs, State, Term
from jreid.methods.mmt_networks import NETWORKS
from jreid.methods.settings.mmt import Settings


def source_terms(settings: Settings) -> dict[str, Term]:
    """Returns the strong baseline's terms, the sum over both networks, each on its own batch."""
    single = baseline.identity_terms(
        weight_identity=1.0,
        weight_triplet=1.0,
        margin=settings.margin,
        label_smoothing=settings.label_smoothing,
    )

    def of_both(term: Term) -> Term:
        def both(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
            first, second = (
                term({SOURCE: outputs[name]}, {SOURCE: batch[name]}, state, context)
                for name in (f'source{suffix}' for suffix in NETWORKS)
            )
            return first + second

        return both

    return {name: of_both(term) for name, term in single.items()}


def mutual_terms(settings: Settings) -> dict[str, Term]:
    """Returns the losses on the target, weighted, each the sum over both networks.

    Hard cross-entropy with label smoothing (Eq. 1) and soft-margin triplet loss against the
    clusters, soft cross-entropy (Eq. 6) and soft triplet loss (Eq. 8) against the teacher of the
    other network, on its view. The soft ones have the weights w of the settings, the hard ones
    1 - w (Eq. 9).
    """
    s = settings
    first, second = NETWORKS
    others = ((first, f'{second}_teacher'), (second, f'{first}_teacher'))

    def identity(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        label, valid = batch['target']['label'], state.memory['valid']
        losses = [
            cross_entropy(
                outputs['target'][f'logits{own}'],
                label,
                label_smoothing=s.label_smoothing,
                valid=valid,
            )
            for own in NETWORKS
        ]
        return (1 - s.soft_identity) * sum(losses, jnp.zeros(()))

    def triplet(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        losses = [
            batch_hard_triplet(
                outputs['target'][f'pooled{own}'], batch['target']['label'], soft_margin=True
            )
            for own in NETWORKS
        ]
        return (1 - s.soft_triplet) * sum(losses, jnp.zeros(()))

    def soft_identity(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        out, labelled = outputs['target'], batch['target']['label'] >= 0
        losses = [
            soft_cross_entropy(
                out[f'logits{own}'],
                jax.lax.stop_gradient(jax.nn.softmax(out[f'logits{other}'])),
                where=labelled,
            )
            for own, other in others
        ]
        return s.soft_identity * sum(losses, jnp.zeros(()))

    def soft_triplet(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        out, label = outputs['target'], batch['target']['label']
        losses = [
            soft_batch_hard_triplet(out[f'pooled{own}'], out[f'pooled{other}'], label)
            for own, other in others
        ]
        return s.soft_triplet * sum(losses, jnp.zeros(()))

    return {
        'identity': identity,
        'triplet': triplet,
        'soft_identity': soft_identity,
        'soft_triplet': soft_triplet,
    }
