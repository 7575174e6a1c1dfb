"""DMTNet: deep multi-task transfer network with the number of target identities estimated (Wang &
Hu, IEEE Access 2020).

A network with three heads (classification, attribute attention, identification) is trained on the
labelled source, the number of identities of the unlabelled target is estimated by constrained
k-means (NIEC), its images get the clusters as pseudo labels, and the network is trained on both
domains, whose features MMD and a symmetric KL divergence bring together. Equation numbers are the
paper's.

Settled where the paper is silent or contradicts itself (see the design's methods page): a linear
classifier between F_cl and the softmax; the attended feature is divided by the number of
attributes; L_KL compares the two domains' mean Student-t assignments to the clusters that NIEC
found on both; batch-norm statistics are kept a domain (`batch_norm='split'`) or common ('joint').

Differs from the paper: a source without attribute labels has no attribute head, and F_id takes its
width. Differs from the paper: without attention (MTwAANet) no loss reads attribute labels, since
L_at is a loss of the attention, and the paper says no more.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.clustering import cluster_target, estimate_identities
from jreid.losses import (
    attribute_attention,
    batch_hard_triplet,
    cross_entropy,
    linear_mmd,
    rbf_mmd,
    student_t_assignment,
    symmetric_kl,
)
from jreid.losses.distances import unit
from jreid.methods.common import domains
from jreid.methods.common.grouping import centred, cluster_means
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Method,
    OptimizerSettings,
    Phase,
    Problem,
    Refreshed,
    Stream,
    Tree,
)
from jreid.methods.dmtnet_settings import Settings, check, matched_width
from jreid.models.heads import BNNeck


class Network(nn.Module):
    """Backbone and the three heads.

    Attributes:
      backbone: images -> feature map.
      source_identities: classes of the source's classifier.
      clusters: classes of the target's classifier, the largest number of clusters.
      attributes: number of attributes M, 0 for none.
    """

    backbone: nn.Module
    source_identities: int
    clusters: int
    attributes: int
    settings: Settings

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> dict[str, Array]:
        s = self.settings
        base = jnp.mean(self.backbone(images, train=train), axis=(1, 2))  # F0, Eq. 1
        # The strong baseline's neck (Luo et al. 2019): heads see features of unit variance, without
        # which the triplet loss can shrink F_mat to a point.
        heads = BNNeck(name='neck')(base, train) if s.neck else base
        classification = nn.Dense(s.classification_width, name='classification')(heads)
        out = {'base': base, 'classification': classification}
        out['source_logits'] = nn.Dense(self.source_identities, name='source_classifier')(
            classification
        )
        out['target_logits'] = nn.Dense(self.clusters, name='target_classifier')(classification)
        parts = [classification] if s.target_classification else []
        if self.attributes:
            features = nn.Dense(s.attribute_width * self.attributes, name='attributes')(heads)
            columns = features.reshape(-1, s.attribute_width, self.attributes)
            if s.attention:
                attention = nn.Dense(self.attributes**2, name='attention')(features)
                out['attention'] = nn.sigmoid(attention).reshape(
                    -1, self.attributes, self.attributes
                )
                columns = columns @ out['attention']  # Eq. 4
            out['attributes'] = columns.mean(axis=-1)
            parts.append(out['attributes'])
        if s.identification:
            width = (
                s.matching_width
                - s.classification_width
                - (s.attribute_width if self.attributes else 0)
            )
            parts.insert(0, nn.Dense(width, name='identification')(heads))
        matching = jnp.concatenate(parts, axis=-1)  # Eq. 5
        out['matching'] = unit(matching) if s.normalise else matching
        return out


def dmtnet(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """DMTNet as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.dmtnet_settings.check`.
    """
    check(problem, settings)
    largest = _largest_total(problem, settings)
    network = Network(
        backbone, problem.source_identities, largest, len(problem.attribute_names), settings
    )
    batch, images = (
        settings.identities_per_batch * settings.images_per_identity,
        settings.images_per_identity,
    )
    source = Stream(SOURCE, 'pxk', batch, images)
    target = Stream(TARGET, 'pseudo', batch, images)
    optimizer = OptimizerSettings(
        'adam',
        settings.learning_rate,
        settings.schedule,
        settings.warmup,
        weight_decay=settings.weight_decay,
    )
    phases = [
        Phase(
            'source',
            settings.source_epochs,
            {'source': source},
            _source_objective(network, settings),
            optimizer,
            row='source_only',
        )
    ]
    if settings.adapt_epochs:
        adapt = dataclasses.replace(optimizer, learning_rate=settings.adapt_learning_rate)
        streams = {'target': target, 'source': source}
        phases.append(
            Phase(
                'adapt',
                settings.adapt_epochs,
                streams,
                _adapt_objective(network, settings),
                adapt,
                refresh_every=settings.relabel_every,
                row='adapted',
                restart_statistics=True,
            )
        )

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        params, model_state = domains.initial(network, key, problem.image_size)
        centroids = jnp.zeros(
            (
                largest,
                (
                    settings.classification_width
                    if settings.cluster_feature == 'classification'
                    else matched_width(problem, settings)
                ),
            )
        )
        return params, model_state, {'centroids': centroids, 'valid': jnp.zeros(largest, bool)}

    def describe(variables: Tree, images: Array, domain: str) -> Mapping[str, Array]:
        out = domains.inference(network, variables, images, domain)
        return {'feature': out[settings.cluster_feature], 'classification': out['classification']}

    return Method(
        name='dmtnet',
        phases=tuple(phases),
        init=init,
        embed=lambda variables, images, domain: domains.inference(
            network, variables, images, domain
        )['matching'],
        statistics=domains.batch_statistics(network, momentum),
        describe=describe,
        refresh=_refresh(problem, settings, largest),
    )


def _largest_total(problem: Problem, settings: Settings) -> int:
    """The most clusters that any sweep can ask for; heads and centroids have this static size."""
    most = round(problem.target_images / settings.niec_images_per_identity[0])
    return problem.source_identities + min(
        max(most, problem.target_identities or 0, 1), problem.target_images
    )


def _source_losses(
    out: Mapping[str, Array], batch: Mapping[str, Array], settings: Settings
) -> dict[str, Array]:
    """L_cl (Eq. 2), L_at (Eq. 3) and L_mat (Eq. 7) on labelled source images, each with its
    weight.
    """
    losses = {
        'classification': (
            settings.weight_classification
            * cross_entropy(
                out['source_logits'], batch['identity'], label_smoothing=settings.label_smoothing
            )
        ),
        'matching': (
            settings.weight_matching
            * batch_hard_triplet(
                out['matching'],
                batch['identity'],
                margin=settings.margin,
                squared=settings.squared_distance,
            )
        ),
    }
    if 'attention' in out:
        annotated = ~jnp.isnan(batch['attributes']).any(axis=-1)
        losses['attributes'] = settings.weight_attributes * attribute_attention(
            out['attention'], batch['attributes'], where=annotated
        )
    return losses


def _source_objective(network: nn.Module, settings: Settings) -> Callable:
    def objective(params, model_state, batch, key, progress, extra):
        del key, progress, extra
        out, model_state = domains.forward(
            network, params, model_state, batch['source']['image'], SOURCE
        )
        losses = _source_losses(out, batch['source'], settings)
        accuracy = jnp.mean(jnp.argmax(out['source_logits'], -1) == batch['source']['identity'])
        return sum(losses.values()), (model_state, {**losses, 'source_accuracy': accuracy})

    return objective


def _adapt_objective(network: nn.Module, settings: Settings) -> Callable:
    mmd = linear_mmd if settings.mmd == 'linear' else rbf_mmd

    def objective(params, model_state, batch, key, progress, extra):
        del key, progress
        source, target = batch['source'], batch['target']
        if settings.batch_norm == 'split':
            out, model_state = domains.forward(
                network, params, model_state, source['image'], SOURCE
            )
            new, model_state = domains.forward(
                network, params, model_state, target['image'], TARGET
            )
        else:
            out, new, model_state = domains.forward_jointly(
                network, params, model_state, source['image'], target['image']
            )
        losses = _source_losses(out, source, settings)
        if settings.target_classification:
            pseudo = cross_entropy(
                new['target_logits'],
                target['identity'],
                label_smoothing=settings.label_smoothing,
                where=target['identity'] >= 0,
                valid=extra['valid'],
            )
            losses['target_classification'] = settings.weight_classification * pseudo
        losses['target_matching'] = settings.weight_matching * batch_hard_triplet(
            new['matching'],
            target['identity'],
            margin=settings.margin,
            squared=settings.squared_distance,
        )
        shared = [name for name in ('base', 'attributes', 'matching') if name in out]
        # Eq. 8
        losses['mmd'] = settings.weight_mmd * jnp.sum(
            jnp.stack([mmd(out[name], new[name]) for name in shared])
        )
        if settings.weight_kl:
            losses['kl'] = settings.weight_kl * _assignment_divergence(
                out[settings.cluster_feature], new[settings.cluster_feature], extra, settings.alpha
            )
        return sum(losses.values()), (model_state, losses)

    return objective


def _assignment_divergence(source: Array, target: Array, extra: Tree, alpha: float) -> Array:
    """L_KL: symmetric KL of the two domains' mean Student-t assignments to common centroids (Eq.
    9 and 10, as settled).
    """

    def mean_assignment(features: Array) -> Array:
        log_q = student_t_assignment(
            features, extra['centroids'], alpha=alpha, where=extra['valid']
        )
        return jax.nn.logsumexp(log_q, axis=0) - jnp.log(len(features))

    return symmetric_kl(mean_assignment(source), mean_assignment(target))


def _refresh(problem: Problem, settings: Settings, largest: int) -> Callable[..., Refreshed]:
    """NIEC and the pseudo labels it gives, see `jreid.clustering.estimate_identities`."""

    def refresh(
        key, params, extra, source, target, source_identity, last, *, progress=False
    ) -> Refreshed:
        # a user's own set may hold images of nobody known
        labelled = np.asarray(source_identity) >= 0
        source = {name: values[labelled] for name, values in source.items()}
        features, new = (
            centred(domain['feature'], domain['camera'], settings.cluster_centring)
            for domain in (source, target)
        )
        identity = jnp.asarray(np.asarray(source_identity)[labelled])
        tables = {}
        known = int(extra['valid'].sum())  # clusters of the refresh before, 0 at the first
        effort: dict[str, Any] = {
            'n_init': settings.niec_restarts,
            'max_iterations': settings.niec_iterations,
        }
        if settings.given_identities or (
            known and not settings.estimate_every_refresh and not last
        ):
            total = known or problem.source_identities + int(problem.target_identities or 0)
            found = cluster_target(key, features, identity, new, total, k_max=largest, **effort)
        else:
            found = estimate_identities(
                key,
                features,
                identity,
                new,
                images_per_identity=settings.niec_images_per_identity,
                coarse=settings.niec_coarse,
                refine=settings.niec_refine,
                refinements=settings.niec_refinements,
                rule=settings.niec_rule,
                probe_fraction=settings.niec_probe_fraction,
                probe_splits=settings.niec_probe_splits or None,
                silhouette_sample=settings.niec_silhouette_sample,
                progress=progress,
                **effort,
            )
            tables['niec'] = {
                name: np.asarray(column) for name, column in found.curve._asdict().items()
            }
        clusters, total = np.asarray(found.labels), len(found.centroids)
        sizes = np.bincount(clusters, minlength=largest)
        labels = np.where(sizes[clusters] >= settings.images_per_identity, clusters, -1).astype(
            np.int32
        )
        # L_KL compares features as they come, so its centroids are the clusters' means before any
        # centring.
        members = np.concatenate([found.source_labels, clusters])
        centroids = cluster_means(
            np.concatenate([source['feature'], target['feature']]), members, largest
        )
        valid = np.arange(largest) < total
        report = {
            'identities_estimated': float(found.count),
            'clusters': float(total),
            'clusters_kept': float(len(np.unique(labels[labels >= 0]))),
            'images_left_out': float((labels < 0).sum()),
        }
        params = _follow(params, np.asarray(target['classification']), clusters, largest)
        return Refreshed(
            labels,
            params,
            {'centroids': jnp.asarray(centroids), 'valid': jnp.asarray(valid)},
            report,
            tables,
        )

    return refresh


def _follow(params: Tree, features: np.ndarray, clusters: np.ndarray, largest: int) -> Tree:
    """Set the target's classifier to the nearest-mean classifier of the new clusters, whose numbers
    mean nothing from one refresh to the next.

    -s ||f - mu||^2 = 2 s f.mu - s ||mu||^2 + const is linear in f; s makes the mean squared
    distance of a mean to the centre of all 4 nats.
    """
    means, sizes = (
        cluster_means(features, clusters, largest),
        np.bincount(clusters, minlength=largest),
    )
    used = means[sizes > 0]
    spread = np.mean(np.sum((used - used.mean(0)) ** 2, axis=1))
    scale = 4.0 / max(float(spread), 1e-12)
    kernel, bias = 2 * scale * means.T, -scale * np.sum(means**2, axis=1)
    # A cluster without an image of the target has no mean: its logit lies below those of all
    # images' own clusters, e^-4 of their probability for all such.
    own = np.sum(features * kernel.T[clusters], axis=1) + bias[clusters]
    bias[sizes == 0] = own.min() - 4 - np.log(max((sizes == 0).sum(), 1))
    return {
        **params,
        'target_classifier': {
            'kernel': jnp.asarray(kernel, jnp.float32),
            'bias': jnp.asarray(bias, jnp.float32),
        },
    }
