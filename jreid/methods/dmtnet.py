"""DMTNet: deep multi-task transfer network with the number of target identities estimated.

Source: Wang & Hu, IEEE Access 2020. Equation numbers are the paper's; `docs/systems/dmtnet.md`
says what was settled where the paper is silent.

A network with three heads (classification, attribute attention, identification) is trained on the
labelled source. Constrained k-means estimates the number of identities of the unlabelled target
(NIEC), whose images get their clusters as pseudo labels. Then the network is trained on both
domains, whose features MMD and a symmetric KL divergence bring together.

Differs from the paper: the default settings are the strong baseline's; the variant `dmtnet-paper`
has the paper's.
Differs from the paper: every re-labelling sets the target's classifier to the nearest means.
Differs from the paper: Algorithm 1's loop over totals is a sweep of clusterings, not of trainings.
Differs from the paper: the number of identities that is reported is the median over all sweeps.
Differs from the paper: Eq. 3 and 7 are means over images, not sums, and Eq. 3's sum over j, which
its term does not have, is left out.
Differs from the paper: the positive of Eq. 7 is the farthest; the paper says only which negative.
Differs from the paper: the neck stands before all heads, L_mat's too (none in `dmtnet-paper`).
Differs from the paper: the count is C* less anchors and probes; in ACC a probe in an anchor's
cluster is wrong (`jreid.clustering.estimate_identities`).
Differs from the paper: a source without attribute labels has no attribute head, and F_id takes its
width.
Differs from the paper: without attention (MTwAANet) no term reads attribute labels, since L_at is a
loss of the attention, and the paper says no more.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.clustering import cluster_target
from jreid.clustering.merging import cluster_means
from jreid.losses import (
    attribute_attention,
    batch_hard_triplet,
    cross_entropy,
    linear_mmd,
    mean_assignment,
    rank_profile,
    rbf_mmd,
    sharpened_assignment,
    student_t_assignment,
    symmetric_kl,
)
from jreid.losses.distances import cross_squared, safe_sqrt
from jreid.methods.common import domains, niec, plans
from jreid.methods.common.grouping import centred
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Described,
    Forward,
    Method,
    Outputs,
    Params,
    Phase,
    Problem,
    RefreshContext,
    Refreshed,
    State,
    Term,
    Tree,
)
from jreid.methods.dmtnet_network import Network
from jreid.methods.settings.dmtnet import Settings, check, matched_width
from jreid.methods.settings.niec import most_identities

log = logging.getLogger('jreid')


def dmtnet(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds DMTNet as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.dmtnet.check`.
    """
    check(problem, settings)
    largest = _largest_total(problem, settings)
    attributes = len(problem.attribute_names)
    rounds = max(1, -(-settings.adapt_epochs // settings.relabel_every))
    network = Network(backbone, problem.source_identities, largest, attributes, settings)

    def init(key: Array) -> tuple[Params, State]:
        clustered = settings.classification_width
        if settings.cluster_feature != 'classification':
            clustered = matched_width(problem, settings)
        centroids = jnp.zeros((largest, clustered))
        memory = {
            'centroids': centroids,
            'valid': jnp.zeros(largest, bool),
            'counts': jnp.zeros(rounds, jnp.int32),  # what the sweeps said, 0 for those to come
        }
        return domains.initial(network, key, problem.image_size, memory=memory)

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        return domains.inference(network, params, state, images, domain)['matching']

    def describe(params: Params, state: State, images: Array, domain: str) -> Mapping[str, Array]:
        out = domains.inference(network, params, state, images, domain)
        return {'feature': out[settings.cluster_feature], 'classification': out['classification']}

    return Method(
        name='dmtnet',
        phases=_phases(network, settings, attended=bool(attributes) and settings.attention),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum),
        describe=describe,
        refresh=_refresh(problem, settings, largest, rounds),
    )


def _largest_total(problem: Problem, settings: Settings) -> int:
    """Returns the most clusters that a sweep can ask for: the static size of the heads."""
    most = most_identities(problem, settings)
    target = min(max(most, problem.target_identities or 0), problem.target_images)
    return problem.source_identities + target


def _phases(network: nn.Module, settings: Settings, *, attended: bool) -> tuple[Phase, ...]:
    sizes = settings.identities_per_batch, settings.images_per_identity
    source, target = plans.pxk(SOURCE, *sizes), plans.pseudo(TARGET, *sizes)
    optimizer = Optimizer(
        'adam',
        settings.learning_rate,
        settings.schedule,
        settings.warmup,
        weight_decay=settings.weight_decay,
    )
    terms = source_terms(settings, attended=attended)
    first = Phase(
        name='source',
        epochs=settings.source_epochs,
        streams={'source': source},
        forward=domains.source_forward(network),
        terms=terms,
        metrics={'source_accuracy': _source_accuracy},
        optimizer=optimizer,
        report_as='source_only',
    )
    if not settings.adapt_epochs:
        return (first,)
    second = Phase(
        name='adapt',
        epochs=settings.adapt_epochs,
        streams={'target': target, 'source': source},
        forward=_forward_both(network, settings),
        terms={**terms, **adaptation_terms(settings)},
        optimizer=dataclasses.replace(optimizer, learning_rate=settings.adapt_learning_rate),
        refresh_every=settings.relabel_every,
        report_as='adapted',
        adapt_statistics=True,
    )
    return first, second


def _forward_both(network: nn.Module, settings: Settings) -> Forward:
    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        images, new = batch['source']['image'], batch['target']['image']
        if settings.batch_norm == 'joint':
            source, target, state = domains.forward_jointly(network, params, state, images, new)
        else:
            source, state = domains.forward(network, params, state, images, SOURCE)
            target, state = domains.forward(network, params, state, new, TARGET)
        return {'source': source, 'target': target}, state

    return forward


def source_terms(settings: Settings, *, attended: bool) -> dict[str, Term]:
    """Returns L_cl (Eq. 2), L_mat (Eq. 7) and L_at (Eq. 3) on labelled source images, weighted.

    Args:
      attended: whether the network has an attribute attention.
    """
    s = settings

    def classification(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        logits, identity = outputs['source']['source_logits'], batch['source']['identity']
        loss = cross_entropy(logits, identity, label_smoothing=s.label_smoothing)
        return s.weight_classification * loss

    def matching(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        features, identity = outputs['source']['matching'], batch['source']['identity']
        loss = batch_hard_triplet(features, identity, margin=s.margin, squared=s.squared_distance)
        return s.weight_matching * loss

    def attributes(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        labels = batch['source']['attributes']
        annotated = ~jnp.isnan(labels).any(axis=-1)
        loss = attribute_attention(outputs['source']['attention'], labels, where=annotated)
        return s.weight_attributes * loss

    terms: dict[str, Term] = {'classification': classification, 'matching': matching}
    return {**terms, 'attributes': attributes} if attended else terms


def adaptation_terms(settings: Settings) -> dict[str, Term]:
    """Returns the target's L_cl and L_mat, L_mmd (Eq. 8) and L_KL (Eq. 9 and 10), weighted."""
    s, mmd_of = settings, linear_mmd if settings.mmd == 'linear' else rbf_mmd

    def classification(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        label = batch['target']['label']
        loss = cross_entropy(
            outputs['target']['target_logits'],
            label,
            label_smoothing=s.label_smoothing,
            where=label >= 0,
            valid=state.memory['valid'],
        )
        return s.weight_classification * loss

    def matching(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        features, label = outputs['target']['matching'], batch['target']['label']
        loss = batch_hard_triplet(features, label, margin=s.margin, squared=s.squared_distance)
        return s.weight_matching * loss

    def mmd(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        source, target = outputs['source'], outputs['target']
        shared = [name for name in ('base', 'attributes', 'matching') if name in source]
        losses = [mmd_of(source[name], target[name]) for name in shared]
        return s.weight_mmd * jnp.sum(jnp.stack(losses))

    def kl(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        source, target = (outputs[name][s.cluster_feature] for name in ('source', 'target'))
        return s.weight_kl * assignment_divergence(source, target, state.memory, s)

    terms: dict[str, Term] = {}
    if s.target_classification:
        terms['target_classification'] = classification
    terms |= {'target_matching': matching, 'mmd': mmd}
    return {**terms, 'kl': kl} if s.weight_kl else terms


def assignment_divergence(source: Array, target: Array, memory: Tree, settings: Settings) -> Array:
    """Computes L_KL (Eq. 9 and 10) in the form that `kl_form` names.

    Args:
      source, target: features [n, d] and [m, d].
      memory: `centroids` [largest, d] and `valid` bool [largest].
    """
    centroids, valid = memory['centroids'], memory['valid']
    scale: Array | float = 1.0
    if settings.kl_scale:
        known = jnp.where(valid[:, None], centroids, 0)
        squared = cross_squared(jnp.concatenate([source, target]), known)
        nearest = jnp.min(squared, axis=1, where=valid, initial=jnp.inf)
        length = settings.kl_scale * jax.lax.stop_gradient(safe_sqrt(jnp.mean(nearest)))
        scale = jnp.where(length > 0, length, 1)
    first, second = (
        student_t_assignment(f, centroids, alpha=settings.alpha, scale=scale, where=valid)
        for f in (source, target)
    )
    if settings.kl_form == 'sharpened':
        goal = jax.lax.stop_gradient(sharpened_assignment(second))
        return jnp.mean(symmetric_kl(goal, second))
    summary = mean_assignment if settings.kl_form == 'domains' else rank_profile
    return symmetric_kl(summary(first), summary(second))


def _source_accuracy(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
    predicted = jnp.argmax(outputs['source']['source_logits'], axis=-1)
    return jnp.mean(predicted == batch['source']['identity'])


def _refresh(
    problem: Problem, settings: Settings, largest: int, rounds: int
) -> Callable[..., Refreshed]:
    """Makes the refresh: NIEC and the pseudo labels that it gives."""
    s = settings

    def refresh(
        params: Params,
        state: State,
        source: Described | None,
        target: Described | None,
        context: RefreshContext,
    ) -> Refreshed:
        assert source is not None
        assert target is not None
        # A user's own set may hold images of nobody known.
        labelled = np.asarray(source['identity']) >= 0
        source = {name: values[labelled] for name, values in source.items()}
        features, new = (
            centred(domain['feature'], domain['camera'], s.cluster_centring)
            for domain in (source, target)
        )
        identity = jnp.asarray(source['identity'])
        tables: Mapping[str, Mapping[str, np.ndarray]] = {}
        # Clusters of the refresh before, 0 at the first.
        known = int(state.memory['valid'].sum())
        counts = np.asarray(state.memory['counts'])
        keep_count = known and not s.estimate_every_refresh and not context.last
        if s.given_identities or keep_count:
            total = known or problem.source_identities + int(problem.target_identities or 0)
            effort = {
                **niec.effort(s),
                **niec.starts(context.key, new, total - problem.source_identities, s),
            }
            estimate = cluster_target(
                context.key, features, identity, new, total, k_max=largest, **effort
            )
        else:
            estimate = niec.estimate(
                context.key,
                features,
                np.asarray(source['identity']),
                new,
                target['camera'],
                s,
                progress=context.verbose,
            )
            tables = niec.table(estimate)
            counts = np.append(counts[counts > 0], estimate.count)[-rounds:]
            counts = np.pad(counts, (0, rounds - len(counts)))
        clusters, total = np.asarray(estimate.labels), len(estimate.centroids)
        sizes = np.bincount(clusters, minlength=largest)
        large_enough = sizes[clusters] >= s.images_per_identity
        labels = np.where(large_enough, clusters, -1).astype(np.int32)
        # L_KL compares features without centring, so its centroids are the clusters' means of
        # those.
        members = np.concatenate([estimate.source_labels, clusters])
        both = np.concatenate([source['feature'], target['feature']])
        memory = {
            'centroids': jnp.asarray(cluster_means(both, members, largest)),
            'valid': jnp.asarray(np.arange(largest) < total),
            'counts': jnp.asarray(counts, jnp.int32),
        }
        count = estimate.count
        if s.count_from == 'sweeps' and counts.any():
            count = int(np.median(counts[counts > 0]) + 0.5)  # of two in the middle, half up
        kept = len(np.unique(labels[labels >= 0]))
        if kept < 2:
            log.warning(
                '%d of %d target clusters have method.images_per_identity (%d) images: nothing is'
                ' trained before the next re-labelling. A smaller one keeps more, and so do fewer'
                ' clusters (method.niec_images_per_identity)',
                *(kept, len(np.unique(clusters)), s.images_per_identity),
            )
        report = {
            'identities_estimated': float(count),
            'clusters': float(total),
            'clusters_kept': float(kept),
            'images_left_out': float((labels < 0).sum()),
        }
        params = _follow(params, np.asarray(target['classification']), clusters, largest)
        state = state._replace(memory=memory)
        return Refreshed(labels, params, state, report, tables, useless=kept < 2)

    return refresh


def _follow(params: Params, features: np.ndarray, clusters: np.ndarray, largest: int) -> Params:
    """Sets the target's classifier to the nearest-mean classifier of the new clusters.

    The numbers of clusters mean nothing from one refresh to the next.
    -s ||f - mu||^2 = 2 s f.mu - s ||mu||^2 + const is linear in f; s makes the mean squared
    distance of a mean to the centre of all 4 nats.

    Differs from the paper: it does not say how the classifier follows the clusters.
    """
    means = cluster_means(features, clusters, largest)
    sizes = np.bincount(clusters, minlength=largest)
    used = means[sizes > 0]
    spread = np.mean(np.sum((used - used.mean(0)) ** 2, axis=1))
    scale = 4.0 / max(float(spread), 1e-12)
    kernel, bias = 2 * scale * means.T, -scale * np.sum(means**2, axis=1)
    # A cluster without an image of the target has no mean: its logit lies below those of all
    # images' own clusters, e^-4 of their probability for all such.
    own = np.sum(features * kernel.T[clusters], axis=1) + bias[clusters]
    bias[sizes == 0] = own.min() - 4 - np.log(max((sizes == 0).sum(), 1))
    classifier = {
        'kernel': jnp.asarray(kernel, jnp.float32),
        'bias': jnp.asarray(bias, jnp.float32),
    }
    return {**params, 'target_classifier': classifier}
