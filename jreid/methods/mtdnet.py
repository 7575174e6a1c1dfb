"""MTDnet: pair classification and ranking in one network, and its cross-domain form (Chen, Chen,
Zhang & Huang, AAAI 2017). Equation numbers are the paper's.

AlexNet's conv1 and conv2 see every image. On their maps stands a fully connected layer to a
512-wide feature with a triplet loss (Eq. 1), and, for two images' maps joined along the channels,
conv3 to fc8, which say whether they show the same person (Eq. 2). Images come as (A1, A2, B2, B2,
...): a positive pair from two cameras and ten negatives from the second camera, ten triplets in
all. Of these, (A1, A2) is a positive and (A1, B2) a negative pair.

It learns on a large labelled source, then on a small target with its labels: this is the one system
here that reads the target's training labels (`config.data.target_labels`). The second phase is
fine-tuning ('finetune'), fine-tuning on both sets' images ('augment'), or two copies of the
network, one a domain, both from the source-trained one, whose fc7 responses to pairs are coupled by
a contrastive loss (Eq. 3 and 4, 'cross'). After training nothing reads the source's copy.

Settled where the paper is silent or contradicts itself (see the design's methods page): Eq. 2 and 4
are the usual cross-entropy and contrastive loss. A positive pair stands in ten triplets; it is
computed once and counted ten times, with one draw of dropout. Eq. 4 takes every pair of the source
with a pair of the target drawn at random without repetition, so that about half of the labels
agree; fc7's responses are those after ReLU, before dropout, L2-normalised. The ranking feature has
unit length, as FaceNet's has, whose loss the paper says it uses. Only conv1 and conv2 start from
imported weights, in MTDnet-rnk too. MTDnet-aug draws its triplets within a set, each set in
proportion to its images: a negative comes from A2's camera, and no camera is in both sets. The
first image of a pair is the query. Differs from the paper: the means over pairs in Eq. 2 and 4, and
over triplets in Eq. 1 where `triplet_reduction` says so; the paper prints sums.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.losses import cross_entropy, listed_triplet, pair_contrastive
from jreid.losses.distances import unit
from jreid.methods.common import domains
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Method,
    OptimizerSettings,
    Phase,
    Problem,
    SpatialMap,
    Stream,
    Tree,
)
from jreid.methods.mtdnet_network import Network
from jreid.methods.settings.mtdnet import Settings, check

COPY = 'source_network'
"""Name of the source's copy of the network among the parameters of the cross-domain form."""


def mtdnet(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """MTDnet, or one of the forms of Table 1, as a `Method`.

    Args:
      backbone: AlexNet, or another of `jreid.models` whose `stem_to_stage3` stands in the place of
        conv1 and conv2.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the batch normalisation of a backbone that has some; AlexNet has none.

    Raises:
      ValueError: a setting is not known, iterations do not fill epochs, or the target's labels may
        not be read.
    """
    check(problem, settings)
    network = Network(
        backbone,
        form=settings.form,
        widths=settings.pair_widths,
        dense_width=settings.dense_width,
        feature_width=settings.feature_width,
        dropout=settings.dropout,
        initial=settings.initial,
    )
    normalised = 'batch_stats' in jax.eval_shape(
        lambda: backbone.init(
            jax.random.key(0), jnp.zeros((1, *problem.image_size, 3)), train=False
        )
    )
    crosses = settings.target_training == 'cross' and settings.target_iterations > 0

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        params, model_state = domains.initial(network, key, problem.image_size)
        return (
            ({**params, COPY: jax.tree.map(jnp.copy, params)} if crosses else params),
            model_state,
            {},
        )

    def apply(variables: Tree, *arguments: Any, domain: str, method: str) -> Array:
        statistics = variables['model_state'].get(domain, {})
        return cast(
            Array,
            network.apply(
                {'params': _own(variables['params']), 'batch_stats': statistics},
                *arguments,
                method=method,
            ),
        )

    def maps(variables: Tree, images: Array, domain: str) -> Mapping[str, SpatialMap]:
        found = apply(variables, images, domain=domain, method='shared')
        return {
            'shared': SpatialMap(
                found, lambda x: apply(variables, x, domain=domain, method='feature')
            )
        }

    def embed(variables: Tree, images: Array, domain: str) -> Array:
        return apply(
            variables,
            apply(variables, images, domain=domain, method='shared'),
            domain=domain,
            method='feature',
        )

    pairs = settings.test == 'pairs'
    return Method(
        name='mtdnet',
        phases=_phases(network, problem, settings, normalised),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum) if normalised else None,
        group=lambda path: 'copy' if path[0] == COPY else 'all',
        pair_input=(
            (
                lambda variables, images, domain, side: apply(
                    variables, images, side, domain=domain, method='share'
                )
            )
            if pairs
            else None
        ),
        score=(
            (
                lambda variables, query, gallery: (
                    apply(variables, query, gallery, domain=TARGET, method='compare').T
                )
            )
            if pairs
            else None
        ),
        normalise=settings.normalise,
        reads_target_labels=True,
        maps=maps,
    )


def _own(params: Tree) -> Tree:
    """The parameters of the one network that is tested."""
    return {name: value for name, value in params.items() if name != COPY}


def _phases(
    network: Network, problem: Problem, settings: Settings, normalised: bool
) -> tuple[Phase, ...]:
    size, group = settings.epoch_iterations, 2 + settings.triplets_per_pair

    def stream(domain: str, pairs: int) -> Stream:
        return Stream(domain, 'triplets', pairs * group, group)

    def optimizer(*, frozen: bool) -> OptimizerSettings:
        # The source's copy is idle until the second phase begins.
        return OptimizerSettings(
            'sgd',
            settings.learning_rate,
            settings.schedule,
            b1=settings.momentum,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            multipliers={'all': 1.0, 'copy': 0.0 if frozen else 1.0},
        )

    pairs = settings.pairs_per_batch
    phases = []
    if settings.source_iterations:
        streams = {'source': stream(SOURCE, pairs)}
        objective = _objective(network, settings, SOURCE)
        phases.append(
            Phase(
                'source',
                settings.source_iterations // size,
                streams,
                objective,
                optimizer(frozen=True),
                steps=size,
                row='source_only',
            )
        )
    if settings.target_iterations:
        start = None
        if settings.target_training == 'finetune':
            streams, objective = (
                {'target': stream(TARGET, pairs)},
                _objective(network, settings, TARGET),
            )
        elif settings.target_training == 'augment':
            share = problem.source_images / (problem.source_images + problem.target_images)
            sources = min(max(round(pairs * share), 1), pairs - 1)
            streams = {'target': stream(TARGET, pairs - sources), 'source': stream(SOURCE, sources)}
            objective = _augmented_objective(network, settings)
        else:
            streams, objective, start = (
                {'target': stream(TARGET, pairs), 'source': stream(SOURCE, pairs)},
                _cross_objective(network, settings),
                copied,
            )
        phases.append(
            Phase(
                settings.target_training,
                settings.target_iterations // size,
                streams,
                objective,
                optimizer(frozen=False),
                steps=size,
                row='supervised',
                restart_statistics=normalised,
                start=start,
            )
        )
    return tuple(phases)


def copied(params: Tree) -> Tree:
    """The parameters with the source's copy of the network set to the network as it is: both
    domains start from the source-trained one.
    """
    own = _own(params)
    return {**own, COPY: jax.tree.map(jnp.copy, own)}


def counted_pairs(groups: int, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pairs of all triplets among the network's pairs, and whether each is positive:
    int and bool [groups * 2 * negatives].

    The network's pairs are (A1, A2), (A1, B2), (A1, B2), ... of each group; the triplets of a group
    count its positive pair once each.
    """
    rows = np.concatenate([np.zeros(negatives, int), 1 + np.arange(negatives)])
    rows = (np.arange(groups)[:, None] * (1 + negatives) + rows).ravel()
    return rows, rows % (1 + negatives) == 0


def task_losses(
    out: Mapping[str, Array], settings: Settings
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(L_trp and L_cls, those that the form has, each with its weight; metrics) of what
    `Network` gives for groups (A1, A2, B2, ...).
    """
    negatives = settings.triplets_per_pair
    losses, metrics = {}, {}
    if 'feature' in out:
        features = unit(out['feature']) if settings.normalise else out['feature']
        grouped = features.reshape(-1, 2 + negatives, features.shape[-1])
        anchor, positive = (jnp.repeat(grouped[:, i], negatives, axis=0) for i in (0, 1))
        triplets = (anchor, positive, grouped[:, 2:].reshape(anchor.shape))
        losses['triplet'] = settings.weight_triplet * listed_triplet(
            *triplets,
            margin=settings.triplet_margin,
            reduction=settings.triplet_reduction,  # type: ignore[arg-type]
        )
        near, far = (jnp.sum(jnp.square(anchor - other), axis=-1) for other in triplets[1:])
        metrics['triplets_in_order'] = jnp.mean(near < far)
    if 'logits' in out:
        rows, same = counted_pairs(len(out['logits']) // (1 + negatives), negatives)
        logits, labels = out['logits'][rows], same.astype(np.int32)
        losses['pairs'] = settings.weight_classification * cross_entropy(logits, labels)
        metrics['pair_accuracy'] = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
    return losses, metrics


def coupling(key: Array, source: Array, target: Array, *, negatives: int, margin: float) -> Array:
    """L_cts (Eq. 3 and 4) of the fc7 responses [groups * (1 + negatives), D] to the two domains'
    pairs.

    Every counted pair of the source meets one of the target, drawn at random; their label is the
    XNOR of theirs.
    """
    rows, same = counted_pairs(len(source) // (1 + negatives), negatives)
    order = jax.random.permutation(key, len(rows))
    agree = jnp.asarray(same) == jnp.asarray(same)[order]
    return pair_contrastive(
        unit(source)[rows], unit(target)[jnp.asarray(rows)[order]], agree, margin=margin
    )


def _forward(
    network: Network,
    settings: Settings,
    params: Tree,
    model_state: Tree,
    images: Array,
    domain: str,
    key: Array,
) -> tuple[Any, Tree]:
    options = {'group': 2 + settings.triplets_per_pair, 'rngs': {'dropout': key}}
    return domains.forward(network, params, model_state, images, domain, **options)


def _objective(network: Network, settings: Settings, domain: str) -> Callable:
    """L_trp and L_cls on one domain's triplets."""

    def objective(params, model_state, batch, key, progress, extra):
        del progress, extra
        out, model_state = _forward(
            network, settings, _own(params), model_state, batch[domain]['image'], domain, key
        )
        losses, metrics = task_losses(out, settings)
        return sum(losses.values()), (model_state, {**losses, **metrics})

    return objective


def _augmented_objective(network: Network, settings: Settings) -> Callable:
    """The same on triplets of both domains as one set."""

    def objective(params, model_state, batch, key, progress, extra):
        del progress, extra
        images = jnp.concatenate([batch['target']['image'], batch['source']['image']])
        out, model_state = _forward(
            network, settings, _own(params), model_state, images, TARGET, key
        )
        losses, metrics = task_losses(out, settings)
        return sum(losses.values()), (model_state, {**losses, **metrics})

    return objective


def _cross_objective(network: Network, settings: Settings) -> Callable:
    """L_trp and L_cls of each domain's copy on its own triplets, and L_cts between them."""

    def objective(params, model_state, batch, key, progress, extra):
        del progress, extra
        keys = jax.random.split(key, 3)
        out, model_state = _forward(
            network, settings, _own(params), model_state, batch['target']['image'], TARGET, keys[0]
        )
        other, model_state = _forward(
            network, settings, params[COPY], model_state, batch['source']['image'], SOURCE, keys[1]
        )
        losses, metrics = task_losses(out, settings)
        source, _ = task_losses(other, settings)
        losses |= {f'source_{name}': value for name, value in source.items()}
        contrast = coupling(
            keys[2],
            other['responses'],
            out['responses'],
            negatives=settings.triplets_per_pair,
            margin=settings.contrastive_margin,
        )
        losses['contrastive'] = settings.weight_contrastive * contrast
        return sum(losses.values()), (model_state, {**losses, **metrics})

    return objective
