"""DIEN: a domain-invariant embedding with recurrent top-down attention (Pu, Georgiou, Bakker & Lew,
IJCNN 2019).

One network for both domains, trained in one phase: an identity classifier on the labelled source, a
triplet loss whose negatives come from the target too (CCCDTL, Eq. 2), and a domain classifier
behind gradient reversal (Eq. 3 and 4). RTDA looks at an image T + 1 times: from each pass's
embedding it derives a mask of positions and channels, multiplies the map with it and embeds again;
the passes' embeddings are summed with learned weights. Table I's rows are settings.

Settled where the paper is silent (see the design's methods page): margin 0.3; the mask multiplies
the backbone's last map (`attend_stage=4`) or the one before (3: the last stage runs again); the
reversal acts on everything below DC; one hidden layer in DC; the fusion weights learn at RTDA's
rate. The paper's mini-batch is the union of both domains' images (Eq. 1), so batch-norm statistics
are common ones (`batch_norm='joint'`); 'split' keeps them a domain.

Differs from the paper: each pass has batch-norm statistics of its own, since a masked map is
smaller than the first one and common running averages would fit neither; losses are means, not
sums, over the batch.
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
    gradient_reversal,
    hhl_triplet,
    linear_mmd,
    reversal_schedule,
)
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
from jreid.methods.settings.dien import Settings, check
from jreid.models.heads import average_and_max_pool
from jreid.models.norm import BatchNorm
from jreid.models.top_down import TopDownAttention


class Embedding(nn.Module):
    """A map to the DIE feature: average and maximum, fully connected layer, batch norm, PReLU."""

    width: int

    @nn.compact
    def __call__(self, maps: Array, train: bool) -> Array:
        x = nn.Dense(self.width, use_bias=False, name='fc')(average_and_max_pool(maps))
        return nn.PReLU(negative_slope_init=0.25, name='prelu')(BatchNorm(name='bn')(x, train))


class DomainClassifier(nn.Module):
    """The logit of "is from the target" [b]."""

    width: int

    @nn.compact
    def __call__(self, features: Array) -> Array:
        if self.width:
            features = nn.relu(nn.Dense(self.width, name='hidden')(features))
        return nn.Dense(1, name='logit')(features)[:, 0]


class Network(nn.Module):
    """Backbone, embedding, RTDA and the two classifiers.

    The statistics of the T passes after the first stand in `batch_stats['passes']`, each leaf with
    a leading axis T.

    Attributes:
      backbone: images -> feature map.
      identities: classes of the identity classifier.
    """

    backbone: nn.Module
    identities: int
    settings: Settings

    def setup(self) -> None:
        s = self.settings
        self.embedding = Embedding(s.embedding_width)
        self.dropout = nn.Dropout(s.dropout)
        self.identity_classifier = nn.Dense(self.identities)
        if s.domain_classifier:
            self.domain_classifier = DomainClassifier(s.domain_width)
        if s.passes:
            self.attention = TopDownAttention(s.attention_width)
            self.fusion = self.param(
                'fusion', nn.initializers.constant(1 / (s.passes + 1)), (s.passes + 1,)
            )

    def __call__(
        self, images: Array, *, train: bool, reversal: Array | float = 1.0
    ) -> dict[str, Array]:
        """`die` [b, d], `logits` of the identities [b, c], and `domain` [b], the logit whose
        gradient is reversed below DC.
        """
        die = self.glimpses(images, train=train)[0]
        # The paper's 1x1 convolution over the T + 1 features.
        out = {'die': jnp.einsum('t,tbd->bd', self.fusion, die) if self.settings.passes else die[0]}
        # Without a key there is no dropout: a pass that only takes statistics has none.
        out['logits'] = self.identity_classifier(
            self.dropout(out['die'], deterministic=not (train and self.has_rng('dropout')))
        )
        if self.settings.domain_classifier:
            out['domain'] = self.domain_classifier(gradient_reversal(out['die'], reversal))
        return out

    def glimpses(self, images: Array, *, train: bool = False) -> tuple[Array, Array, Array, Array]:
        """(DIE features [T + 1, b, d], the map [b, h, w, c] before any mask, spatial weights [T,
        b, h, w], channel weights [T, b, c]).
        """
        s = self.settings
        maps = (
            self.backbone.stem_to_stage3(images, train)
            if s.attend_stage == 3
            else self.backbone(images, train)
        )
        first = self.embedding(
            self.backbone.stage4(maps, train) if s.attend_stage == 3 else maps, train
        )
        if not s.passes:
            return (
                first[None],
                maps,
                jnp.zeros((0, *maps.shape[:3])),
                jnp.zeros((0, len(maps), maps.shape[-1])),
            )
        if self.is_initializing():
            self.attention(first, maps.shape[1:])
            self.put_variable('batch_stats', 'passes', self._fresh_statistics(maps))
        # Parameters as plain arrays: the passes are one scan with shared weights, whose statistics
        # alone differ.
        unbound: tuple[Any, Any] = self.attention.unbind()
        attention, weights = unbound

        def look_again(
            carry: tuple[Array, Array], statistics: Tree
        ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array, Tree]]:
            die, current = carry
            spatial, channel = attention.apply(weights, die, maps.shape[1:])
            masked = current * mask_of(spatial, channel)
            die, statistics = self._finish(masked, statistics, train)
            return (die, masked if s.accumulate_masks else current), (
                die,
                spatial,
                channel,
                statistics,
            )

        _, (die, spatial, channel, statistics) = jax.lax.scan(
            look_again, (first, maps), self.get_variable('batch_stats', 'passes')
        )
        if train and not self.is_initializing():
            self.put_variable('batch_stats', 'passes', statistics)
        return jnp.concatenate([first[None], die]), maps, spatial, channel

    def finish(self, maps: Array, number: int) -> Array:
        """The DIE feature of pass `number` from the map that its mask was multiplied with, for
        inference.
        """
        if number:
            return self._finish(
                maps,
                jax.tree.map(lambda x: x[number - 1], self.get_variable('batch_stats', 'passes')),
                False,
            )[0]
        return self.embedding(
            self.backbone.stage4(maps, False) if self.settings.attend_stage == 3 else maps, False
        )

    def _finish(self, maps: Array, statistics: Tree, train: bool) -> tuple[Array, Tree]:
        """From a masked map to its DIE feature with a pass's own statistics: (feature,
        statistics).
        """
        updated = {}
        if self.settings.attend_stage == 3:
            backbone, variables = self.backbone.unbind()
            weights = {'params': variables['params'], 'batch_stats': statistics['backbone']}
            maps, moved = backbone.apply(
                weights, maps, train, method='stage4', mutable=['batch_stats']
            )
            updated['backbone'] = moved['batch_stats']
        embedding, variables = self.embedding.unbind()
        weights = {'params': variables['params'], 'batch_stats': statistics['embedding']}
        die, moved = embedding.apply(weights, maps, train, mutable=['batch_stats'])
        return die, {**updated, 'embedding': moved['batch_stats']}

    def _fresh_statistics(self, maps: Array) -> Tree:
        """Mean 0 and variance 1 for everything that runs once a pass, with a leading axis T."""
        parts = {'embedding': self.embedding.variables['batch_stats']}
        if self.settings.attend_stage == 3:
            backbone, _ = self.backbone.unbind()
            own = jax.eval_shape(
                lambda: backbone.init(jax.random.key(0), maps, False, method='stage4')
            )['batch_stats']
            parts['backbone'] = {name: self.backbone.variables['batch_stats'][name] for name in own}
        return jax.tree.map(lambda x: jnp.repeat(x[None], self.settings.passes, axis=0), parts)


def mask_of(spatial: Array, channel: Array) -> Array:
    """The outer product of spatial [..., h, w] and channel weights [..., c]: the mask [..., h,
    w, c] in (0, 1).
    """
    return spatial[..., None] * channel[..., None, None, :]


def dien(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """DIEN as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the batch normalisation.

    Raises:
      ValueError: a setting is out of its range, or P x K exceeds what the source has.
    """
    check(backbone, problem, settings)
    network = Network(backbone, problem.source_identities, settings)
    streams = {
        'source': Stream(
            SOURCE,
            'pxk',
            settings.identities_per_batch * settings.images_per_identity,
            settings.images_per_identity,
        )
    }
    if settings.adapts:
        streams['target'] = Stream(TARGET, 'plain', settings.target_batch)
    rates = {
        'backbone': settings.learning_rate_backbone,
        'attention': settings.learning_rate_attention,
        'heads': settings.learning_rate_heads,
    }
    optimizer = OptimizerSettings(
        'sgd',
        settings.learning_rate_heads,
        'steps',
        boundaries=tuple(settings.decay_at),
        b1=settings.momentum,
        clip=settings.clip,
        weight_decay=settings.weight_decay,
        multipliers={name: rate / settings.learning_rate_heads for name, rate in rates.items()},
    )
    # The target's sampler takes as many steps as the source's epoch, so that every row of the table
    # is trained for as many.
    alone = _objective(
        network, dataclasses.replace(settings, triplet='none', domain_classifier=False)
    )
    if settings.adapts:
        phases = [
            Phase(
                'joint',
                settings.joint_epochs,
                streams,
                _objective(network, settings),
                optimizer,
                row='adapted',
            )
        ]
        if settings.identity_epochs:
            first = dataclasses.replace(optimizer, schedule='constant')
            phases.insert(
                0,
                Phase(
                    'source',
                    settings.identity_epochs,
                    {'source': streams['source']},
                    alone,
                    first,
                    row='source_only',
                ),
            )
    else:
        phases = [
            Phase(
                'source',
                settings.identity_epochs + settings.joint_epochs,
                streams,
                alone,
                optimizer,
                row='source_only',
            )
        ]

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        return *domains.initial(network, key, problem.image_size), {}

    return Method(
        name='dien',
        phases=tuple(phases),
        init=init,
        # Unit length: the paper retrieves by "DIE features after L2-normalization".
        embed=lambda variables, images, domain: unit(
            domains.inference(network, variables, images, domain)['die']
        ),
        statistics=domains.batch_statistics(network, momentum),
        group=lambda path: {
            'backbone': 'backbone',
            'attention': 'attention',
            'fusion': 'attention',
        }.get(path[0], 'heads'),
        normalise=True,
        maps=_maps(network),
    )


def losses(
    source: Mapping[str, Array],
    target: Mapping[str, Array] | None,
    identity: Array,
    settings: Settings,
) -> dict[str, Array]:
    """L_IC (Eq. 1), the triplet loss (Eq. 2) and L_DC (Eq. 3), each with its weight of Eq. 5.

    Args:
      source, target: what the network gives for the labelled source and the target images; None
        without a target.
      identity: int32 [b] of the source images. The target has none: nothing here takes a label for
        it.
    """
    found = {'identity': cross_entropy(source['logits'], identity)}
    if target is None:
        return found
    features = jnp.concatenate([source['die'], target['die']])
    is_source = jnp.arange(len(features)) < len(identity)
    labels = jnp.concatenate([identity, jnp.full(len(target['die']), -1, identity.dtype)])
    if settings.triplet == 'cccdtl':
        triplet = centering_constrained_triplet(
            features, labels, is_source, margin=settings.margin, weight=settings.weight_centre
        )
        found['triplet'] = settings.weight_triplet * triplet
    elif settings.triplet == 'hhl':
        found['triplet'] = settings.weight_triplet * hhl_triplet(
            features, labels, is_source, margin=settings.margin
        )
    if settings.domain_classifier:
        found['domain'] = settings.weight_domain * binary_cross_entropy(
            jnp.concatenate([source['domain'], target['domain']]), ~is_source
        )
    return found


def _objective(network: Network, settings: Settings) -> Callable:
    def objective(params, model_state, batch, key, progress, extra):
        del extra
        keys = jax.random.split(key)
        options = [
            {
                'rngs': {'dropout': k},
                'reversal': reversal_schedule(progress) if settings.reversal_schedule else 1.0,
            }
            for k in keys
        ]
        source, out, new = batch['source'], None, None
        if not settings.adapts:
            out, model_state = domains.forward(
                network, params, model_state, source['image'], SOURCE, **options[0]
            )
        elif settings.batch_norm == 'split':
            out, model_state = domains.forward(
                network, params, model_state, source['image'], SOURCE, **options[0]
            )
            new, model_state = domains.forward(
                network, params, model_state, batch['target']['image'], TARGET, **options[1]
            )
        else:
            out, new, model_state = domains.forward_jointly(
                network,
                params,
                model_state,
                source['image'],
                batch['target']['image'],
                **options[0],
            )
        terms = losses(out, new, source['identity'], settings)
        metrics = {
            **terms,
            'source_accuracy': jnp.mean(jnp.argmax(out['logits'], -1) == source['identity']),
        }
        if new is not None:
            metrics['centre_distance'] = linear_mmd(
                unit(out['die']), unit(new['die']), squared=False
            )
        if settings.domain_classifier and new is not None:
            metrics['domain_accuracy'] = (
                jnp.mean(out['domain'] < 0) + jnp.mean(new['domain'] >= 0)
            ) / 2
        return sum(terms.values()), (model_state, metrics)

    return objective


def _maps(network: Network) -> Callable[..., Mapping[str, SpatialMap]]:
    """The map that each pass embeds, by the name of the pass (Fig. 4), with its mask averaged
    over the channels.
    """

    def maps(variables: Tree, images: Array, domain: str) -> dict[str, SpatialMap]:
        bound: dict[str, Any] = {
            'params': variables['params'],
            'batch_stats': variables['model_state'][domain],
        }
        glimpses: Any = network.apply(bound, images, method='glimpses')
        _, current, spatial, channel = glimpses
        found = {}
        for number in range(network.settings.passes + 1):
            mask = None
            if number:
                mask = mask_of(spatial[number - 1], channel[number - 1])
            attended = current if mask is None else current * mask
            if network.settings.accumulate_masks:
                current = attended
            head: Any = lambda x, number=number: network.apply(bound, x, number, method='finish')  # noqa: E731
            found[f'T = {number}'] = SpatialMap(
                attended, head, None if mask is None else mask.mean(-1)
            )
        return found

    return maps
