"""DIEN: a domain-invariant embedding with recurrent top-down attention.

Source: Pu, Georgiou, Bakker & Lew, IJCNN 2019. Equation numbers are the paper's;
`docs/systems/dien.md` says what was settled where the paper is silent.

One network serves both domains and is trained in one phase. Its losses are those of an identity
classifier on the labelled source, of triplets whose negatives come from the target too (CCCDTL),
and of a domain classifier behind gradient reversal. RTDA looks at an image T + 1 times: from each
pass's embedding it derives a mask of positions and channels, multiplies the map with it and embeds
again. The passes' embeddings are summed with learned weights. The rows of Table I are settings.

Differs from the paper: each pass has batch-norm statistics of its own, since a masked map is
smaller than the first one and common running averages would fit neither.
Differs from the paper: losses are means, not sums, over the batch.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.losses import (
    binary_cross_entropy,
    centering_constrained_triplet,
    cross_entropy,
    hhl_triplet,
    linear_mmd,
    reversal_schedule,
)
from jreid.losses.distances import unit
from jreid.methods.common import domains, plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Forward,
    Method,
    Outputs,
    Params,
    Phase,
    Problem,
    SpatialMap,
    State,
    Stream,
    Term,
)
from jreid.methods.dien_network import Glimpses, Network, mask_of
from jreid.methods.settings.dien import Settings, check


def dien(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds DIEN as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.dien.check`.
    """
    check(backbone, problem, settings)
    network = Network(backbone, problem.source_identities, settings)

    def init(key: Array) -> tuple[Params, State]:
        return domains.initial(network, key, problem.image_size)

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        # The paper retrieves by "DIE features after L2-normalization".
        return unit(domains.inference(network, params, state, images, domain)['die'])

    return Method(
        name='dien',
        phases=_phases(network, settings),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum),
        normalise=True,
        maps=_maps(network),
    )


def _phases(network: Network, settings: Settings) -> tuple[Phase, ...]:
    s, optimizer = settings, _optimizer(settings)
    source = plans.pxk(SOURCE, s.identities_per_batch, s.images_per_identity)
    # The first phase and the row 'Base' train with L_IC alone. Every row of the table takes as many
    # steps: those of the source's epochs.
    alone = dataclasses.replace(s, triplet='none', domain_classifier=False)

    def phase(
        name: str, epochs: int, streams: Mapping[str, Stream], own: Settings, report_as: str
    ) -> Phase:
        return Phase(
            name=name,
            epochs=epochs,
            streams=streams,
            forward=_forward(network, own),
            terms=weighted_terms(own),
            metrics=_metrics(own),
            optimizer=optimizer,
            report_as=report_as,
        )

    if not s.adapts:
        epochs = s.identity_epochs + s.joint_epochs
        return (phase('source', epochs, {'source': source}, alone, 'source_only'),)
    streams = {'source': source, 'target': plans.plain(TARGET, s.target_batch)}
    joint = phase('joint', s.joint_epochs, streams, s, 'adapted')
    if not s.identity_epochs:
        return (joint,)
    first = phase('source', s.identity_epochs, {'source': source}, alone, 'source_only')
    constant = dataclasses.replace(optimizer, schedule='constant')
    return dataclasses.replace(first, optimizer=constant), joint


def _optimizer(settings: Settings) -> Optimizer:
    s = settings
    rates = {
        'backbone': s.learning_rate_backbone,
        'attention': s.learning_rate_attention,
        'heads': s.learning_rate_heads,
    }
    return Optimizer(
        'sgd',
        s.learning_rate_heads,
        'steps',
        boundaries=tuple(s.decay_at),
        b1=s.momentum,
        clip=s.clip,
        weight_decay=s.weight_decay,
        multipliers={name: rate / s.learning_rate_heads for name, rate in rates.items()},
        group=_group,
    )


def _group(path: tuple[str, ...]) -> str:
    groups = {'backbone': 'backbone', 'attention': 'attention', 'fusion': 'attention'}
    return groups.get(path[0], 'heads')


def _forward(network: Network, settings: Settings) -> Forward:
    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        key, target_key = jax.random.split(context.key)
        factor = reversal_schedule(context.progress) if settings.reversal_schedule else 1.0
        keywords: dict[str, Any] = {'rngs': {'dropout': key}, 'reversal': factor}
        images = batch['source']['image']
        if not settings.adapts:
            source, state = domains.forward(network, params, state, images, SOURCE, **keywords)
            return {'source': source}, state
        new = batch['target']['image']
        if settings.batch_norm == 'joint':
            source, target, state = domains.forward_jointly(
                network, params, state, images, new, **keywords
            )
        else:
            source, state = domains.forward(network, params, state, images, SOURCE, **keywords)
            keywords['rngs'] = {'dropout': target_key}
            target, state = domains.forward(network, params, state, new, TARGET, **keywords)
        return {'source': source, 'target': target}, state

    return forward


def weighted_terms(settings: Settings) -> dict[str, Term]:
    """Returns L_IC (Eq. 1), the triplet loss (Eq. 2) and L_DC (Eq. 3), weighted as in Eq. 5.

    No term reads a label of the target.
    """
    s = settings

    def identity(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        return cross_entropy(outputs['source']['logits'], batch['source']['identity'])

    def triplet(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        features, is_source = _both(outputs, 'die')
        own = batch['source']['identity']
        unknown = jnp.full(len(features) - len(own), -1, own.dtype)
        labels = jnp.concatenate([own, unknown])
        if s.triplet == 'hhl':
            return s.weight_triplet * hhl_triplet(features, labels, is_source, margin=s.margin)
        loss = centering_constrained_triplet(
            features, labels, is_source, margin=s.margin, weight=s.weight_centre
        )
        return s.weight_triplet * loss

    def domain(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        logits, is_source = _both(outputs, 'domain')
        return s.weight_domain * binary_cross_entropy(logits, ~is_source)

    terms: dict[str, Term] = {'identity': identity}
    if s.triplet != 'none':
        terms['triplet'] = triplet
    return {**terms, 'domain': domain} if s.domain_classifier else terms


def _both(outputs: Outputs, name: str) -> tuple[Array, Array]:
    """Returns an output of both domains' images, the source's first, and which are its."""
    source, target = outputs['source'][name], outputs['target'][name]
    joined = jnp.concatenate([source, target])
    return joined, jnp.arange(len(joined)) < len(source)


def _metrics(settings: Settings) -> dict[str, Term]:
    def source_accuracy(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        predicted = jnp.argmax(outputs['source']['logits'], -1)
        return jnp.mean(predicted == batch['source']['identity'])

    def centre_distance(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        features = [unit(outputs[name]['die']) for name in ('source', 'target')]
        return linear_mmd(*features, squared=False)

    def domain_accuracy(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        source, target = (outputs[name]['domain'] for name in ('source', 'target'))
        return (jnp.mean(source < 0) + jnp.mean(target >= 0)) / 2

    metrics: dict[str, Term] = {'source_accuracy': source_accuracy}
    if settings.adapts:
        metrics['centre_distance'] = centre_distance
    if settings.domain_classifier:
        metrics['domain_accuracy'] = domain_accuracy
    return metrics


def _maps(network: Network) -> Callable[[Params, State, Array, str], Mapping[str, SpatialMap]]:
    """Makes `Method.maps`: pass -> the map that it embeds, and its mask's mean over the channels.

    These are what Fig. 4 shows.
    """
    settings = network.settings

    def maps(params: Params, state: State, images: Array, domain: str) -> dict[str, SpatialMap]:
        bound: Any = {'params': params, 'batch_stats': state.statistics[domain]}
        glimpses: Any = network.apply(bound, images, method='glimpses')
        assert isinstance(glimpses, Glimpses)

        def head_of(number: int) -> Callable[[Array], Array]:
            def head(x: Array) -> Any:
                return network.apply(bound, x, number, method='finish')

            return head

        current = glimpses.maps
        shown = {'T = 0': SpatialMap(current, head_of(0))}
        for number in range(1, settings.passes + 1):
            mask = mask_of(glimpses.spatial[number - 1], glimpses.channel[number - 1])
            attended = current * mask
            current = attended if settings.accumulate_masks else current
            shown[f'T = {number}'] = SpatialMap(attended, head_of(number), mask.mean(-1))
        return shown

    return maps
