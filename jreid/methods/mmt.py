"""MMT: mutual mean-teaching, two networks that learn from each other's mean teachers.

Source: Ge, Chen & Li, ICLR 2020, arXiv:2001.01526. Equation numbers are the paper's;
`docs/systems/mmt.md` says what was settled where the paper is silent.

Two networks are trained on the source, each on its own batches. Then, before every epoch, the
target's images are clustered by the mean of both mean teachers' features. Each network sees its own
view of a batch and learns from the clusters, and from what the other network's teacher says of the
other view.

Differs from the authors' program: its training on the source feeds images of the target too, for
the statistics of batch normalisation. Here these are estimated on the target before the adaptation.
The program reports the better of the two teachers on the target's test labels; here the one is
taken whose features separate the clusters better.
"""

import logging
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.clustering import kmeans
from jreid.clustering.merging import cluster_means
from jreid.clustering.scores import silhouette_rows
from jreid.losses.distances import unit
from jreid.methods.common import baseline, grouping, niec, plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Described,
    Method,
    Params,
    Phase,
    Problem,
    RefreshContext,
    Refreshed,
    State,
)
from jreid.methods.mmt_networks import NETWORKS, Network, Pair, begin, follow, mean_teachers
from jreid.methods.mmt_terms import mutual_terms, source_terms
from jreid.methods.settings.mmt import Settings, check, most_clusters

log = logging.getLogger('jreid')

TEACHERS = ('first', 'second')
"""The two teachers' features, as a refresh reads them."""


def mmt(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds MMT as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.mmt.check`.
    """
    check(problem, settings)
    s = settings
    largest = most_clusters(problem, settings)
    identities = problem.source_identities if settings.source_epochs else 0
    pair = Pair(Network(backbone, identities, largest, settings.pooling))

    def init(key: Array) -> tuple[Params, State]:
        params, statistics = pair.initial(key, problem.image_size)
        # The teachers follow the networks; `better` is the one that retrieves, eps DBSCAN's.
        memory = {
            'teachers': params,
            'updates': jnp.zeros((), jnp.int32),
            'valid': jnp.zeros(largest, bool),
            'better': jnp.zeros((), jnp.int32),
            'eps': jnp.zeros(()),
        }
        return params, State(statistics, memory)

    def describe(params: Params, state: State, images: Array, domain: str) -> Mapping[str, Array]:
        return {
            name: unit(pair.teacher(state, images, domain, number)['neck'])
            for number, name in enumerate(TEACHERS)
        }

    def estimates(refreshes: int) -> bool:
        counts, every = settings.clustering == 'kmeans' and not s.clusters, s.estimate_every
        return counts and (refreshes % every == 0 if every else refreshes == 0)

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        return unit(pair.teacher(state, images, domain, state.memory['better'])['neck'])

    return Method(
        name='mmt',
        phases=_phases(pair, settings),
        init=init,
        embed=embed,
        statistics=pair.batch_statistics(momentum),
        describe=describe,
        refresh=_refresh(settings, largest),
        refresh_reads=lambda number: (SOURCE, TARGET) if estimates(number) else (TARGET,),
        backbones=tuple(f'backbone{suffix}' for suffix in NETWORKS),
        twins={f'{name}{NETWORKS[1]}': name for name in ('backbone', 'neck')},
    )


def _phases(pair: Pair, settings: Settings) -> tuple[Phase, ...]:
    s = settings
    sizes = s.identities_per_batch, s.images_per_identity
    first = Phase(
        name='source',
        epochs=s.source_epochs,
        streams={f'source{suffix}': plans.cross_camera(SOURCE, *sizes) for suffix in NETWORKS},
        forward=pair.on_source,
        terms=source_terms(s),
        metrics={'source_accuracy': baseline.source_accuracy},
        optimizer=Optimizer(
            'adam',
            s.learning_rate,
            s.schedule,
            s.warmup,
            boundaries=tuple(s.boundaries),
            weight_decay=s.weight_decay,
        ),
        after_update=follow,
        steps_per_epoch=s.source_steps,
        report_as='source_only',
    )
    second = Phase(
        name='adapt',
        epochs=s.adapt_epochs,
        streams={'target': plans.cross_camera(TARGET, *sizes, views=2)},
        forward=pair.on_target,
        terms=mutual_terms(s),
        optimizer=Optimizer(
            'adam',
            s.adapt_learning_rate,
            'constant',
            weight_decay=s.weight_decay,
            restarts=s.adapt_epochs,
        ),
        after_update=mean_teachers(s.alpha),
        steps_per_epoch=s.adapt_steps,
        refresh_every=1,
        report_as='adapted',
        adapt_statistics=True,
        start=begin,
    )
    phases = (first,) if s.source_epochs else ()
    return (*phases, second) if s.adapt_epochs else phases


def _refresh(settings: Settings, largest: int) -> Callable[..., Refreshed]:
    """Makes the refresh: clusters of the teachers' mean feature, and classifiers that fit them."""
    s = settings

    def clustered(
        state: State, source: Described | None, target: Described, context: RefreshContext
    ) -> tuple[np.ndarray, float, dict[str, float], Mapping[str, Mapping[str, np.ndarray]]]:
        """Returns labels, eps, what is reported and tables."""
        features = _clustered_feature(target, s)
        if s.clustering == 'dbscan':
            graph = grouping.reranked_graph(
                features, None, k1=s.k1, k2=s.k2, source_weight=0.0, progress=context.verbose
            )
            eps = s.eps or float(state.memory['eps'])
            groups = grouping.group(graph, eps=eps, rho=s.rho, min_samples=s.min_samples, limit=1.0)
            labels = grouping.without_single(groups.labels)
            report = {'eps': groups.eps, 'noise': float((labels < 0).sum())}
            return labels, groups.eps, report, {}
        tables: Mapping[str, Mapping[str, np.ndarray]] = {}
        count = s.clusters or int(state.memory['valid'].sum())
        if source is not None:
            known = np.asarray(source['identity']) >= 0
            estimate = niec.estimate(
                context.key,
                _clustered_feature(source, s)[known],
                np.asarray(source['identity'])[known],
                features,
                target['camera'],
                s,
                progress=context.verbose,
            )
            count, tables = estimate.count, niec.table(estimate)
        clusters = kmeans(context.key, features, count, n_init=s.kmeans_restarts, k_max=largest)
        return np.asarray(clusters.labels, np.int32), 0.0, {}, tables

    def refresh(
        params: Params,
        state: State,
        source: Described | None,
        target: Described | None,
        context: RefreshContext,
    ) -> Refreshed:
        assert target is not None
        labels, eps, report, tables = clustered(state, source, target, context)
        clusters = len(np.unique(labels[labels >= 0]))
        report['identities_estimated'] = float(clusters)
        memory = {**state.memory, 'eps': jnp.asarray(eps, jnp.float32)}
        if clusters < 2:
            log.warning(
                '%d clusters in %d images: this epoch trains nothing and leaves the model as it'
                ' was. A %s method.%s (%g) or a %s method.min_samples (%d) finds more',
                *(clusters, len(labels), 'smaller' if clusters else 'larger'),
                *(('eps', s.eps) if s.eps else ('rho', s.rho)),
                *('larger' if clusters else 'smaller', s.min_samples),
            )
            state = state._replace(memory=memory)
            return Refreshed(labels, params, state, report, tables, useless=True)
        scores = [separation(context.key, target[name], labels, largest, s) for name in TEACHERS]
        report |= {f'separation_{name}': x for name, x in zip(TEACHERS, scores, strict=True)}
        memory['better'] = jnp.asarray(int(scores[1] > scores[0]), jnp.int32)
        memory['valid'] = jnp.arange(largest) < clusters
        mean = (target['first'] + target['second']) / 2
        means = unit(cluster_means(mean[labels >= 0], labels[labels >= 0], largest))
        # As in the authors' program, of the networks and of the teachers.
        heads = {f'target_classifier{suffix}': {'fc': {'kernel': means.T}} for suffix in NETWORKS}
        memory['teachers'] = {**state.memory['teachers'], **heads}
        return Refreshed(labels, {**params, **heads}, state._replace(memory=memory), report, tables)

    return refresh


def _clustered_feature(described: Described, settings: Settings) -> np.ndarray:
    """Returns the mean of the teachers' features; DBSCAN's have unit length again."""
    mean = (described['first'] + described['second']) / 2
    if settings.clustering == 'dbscan':
        mean = np.asarray(unit(mean))
    return grouping.centred(mean, described['camera'], settings.cluster_centring)


def separation(
    key: Array, features: np.ndarray, labels: np.ndarray, largest: int, settings: Settings
) -> float:
    """Returns the mean silhouette of images with a label, of a sample where there are many."""
    order = np.asarray(jax.random.permutation(key, len(labels)))
    # As many rows whatever the noise, so that nothing compiles anew; labelled images come first.
    rows = order[np.argsort(labels[order] < 0, kind='stable')][: settings.niec_silhouette_sample]
    silhouettes = silhouette_rows(
        jnp.asarray(features), jnp.asarray(labels), jnp.asarray(rows), clusters=largest
    )
    return float(np.asarray(silhouettes)[labels[rows] >= 0].mean())
