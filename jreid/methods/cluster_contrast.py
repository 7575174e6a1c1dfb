"""Cluster-Contrast: contrast of images with one vector per cluster, alone or after a source.

Source: Dai et al. 2021, arXiv:2103.11568, and its authors' program
(github.com/alibaba/cluster-contrast-reid at 57b62e9). `docs/systems/cluster_contrast.md` says what
was settled where they leave something open.

Before each epoch the target's images are clustered by DBSCAN on the Jaccard distances of their
k-reciprocal neighbourhoods. Every cluster has one vector of unit length in `State.memory`, at first
the mean of its images. The loss is InfoNCE between an image and all vectors; each image of a batch
then moves its cluster's vector. Images that are noise are left out of the epoch.

The memory is padded to the most clusters that the images can form, so that a step compiles once,
however many clusters an epoch has.
"""

import dataclasses
import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid import retrieval
from jreid.clustering import dbscan
from jreid.clustering.merging import cluster_means
from jreid.losses.distances import unit
from jreid.methods import ptl
from jreid.methods.common import (
    baseline,
    camera_proxies,
    cluster_memory,
    domains,
    grouping,
    niec,
    plans,
)
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Described,
    Method,
    Outputs,
    Params,
    Phase,
    Problem,
    RefreshContext,
    Refreshed,
    State,
    Tree,
)
from jreid.methods.settings.cluster_contrast import Settings, check

log = logging.getLogger('jreid')


def cluster_contrast(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds Cluster-Contrast as a `Method`.

    The strong baseline is trained on the source first, where `source_epochs` is above 0.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.cluster_contrast.check`.
    """
    check(problem, settings)
    if not settings.source_epochs:  # no classifier that nothing trains
        problem = dataclasses.replace(problem, source_identities=0)
    network = ptl.build_network(backbone, problem, settings)
    embed = baseline.embedding(network, settings.feature)
    largest = cluster_memory.most_clusters(problem.target_images, settings.min_samples)
    # A cluster may have a camera per image.
    places = problem.target_images if settings.camera_proxies else largest

    def init(key: Array) -> tuple[Params, State]:
        params, state = domains.initial(network, key, problem.image_size)
        image = jnp.zeros((1, *problem.image_size, 3))
        width = jax.eval_shape(lambda: embed(params, state, image, TARGET)).shape[-1]
        memory = cluster_memory.memory_of(np.zeros((0, width)), places)
        if settings.camera_proxies:
            memory |= camera_proxies.names_of(camera_proxies.NOTHING, places)
        return params, state._replace(memory=memory)

    def describe(params: Params, state: State, images: Array, domain: str) -> dict[str, Array]:
        return {'feature': unit(embed(params, state, images, domain))}

    return Method(
        name='cluster_contrast',
        phases=_phases(network, settings),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum),
        describe=describe,
        refresh=_refresh(settings, largest, places),
        label_columns=2 if settings.camera_proxies else 1,
        refresh_reads=(SOURCE, TARGET) if settings.clustering == 'niec' else (TARGET,),
        normalise=settings.normalise,
    )


def _phases(network: nn.Module, settings: Settings) -> tuple[Phase, ...]:
    s = settings
    first, info_nce = ptl.phase(network, s), cluster_memory.info_nce(s.temperature)
    if first.report_as == 'adapted':
        first = dataclasses.replace(first, report_as='proxy')
    tracked = TARGET in {stream.domain for stream in first.streams.values()}

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        images = batch['target']['image']
        out, state = baseline.forward(
            network, params, state, images, TARGET, tasks=(), batch_norm=s.batch_norm
        )
        return {'target': {'feature': unit(out[s.feature])}}, state

    def after_update(params: Params, state: State, outputs: Outputs, batch: Batch) -> State:
        del params
        move = (
            cluster_memory.moved_by_hardest if s.update == 'hard' else cluster_memory.moved_by_all
        )
        vectors = move(
            state.memory['vectors'],
            outputs['target']['feature'],
            batch['target']['label'][:, 1] if s.camera_proxies else batch['target']['label'],
            momentum=s.memory_momentum,
        )
        return state._replace(memory={**state.memory, 'vectors': vectors})

    second = Phase(
        name='contrast',
        epochs=s.contrast_epochs,
        streams={'target': plans.cross_camera(TARGET, s.contrast_identities, s.contrast_images)},
        forward=forward,
        terms=camera_proxies.terms(s) if s.camera_proxies else {'contrast': info_nce},
        optimizer=Optimizer(
            s.contrast_optimizer,
            s.contrast_learning_rate,
            'steps',
            boundaries=tuple(s.contrast_boundaries),
            weight_decay=s.weight_decay,
        ),
        after_update=after_update,
        steps_per_epoch=s.contrast_steps,
        refresh_every=1,
        report_as='adapted',
        # The statistics that a source left, or ImageNet, go on; the target's own start anew.
        adapt_statistics=s.batch_norm == 'split' and (not s.source_epochs or not tracked),
    )
    return (first, second) if s.source_epochs else (second,)


def _refresh(settings: Settings, largest: int, places: int) -> Callable[..., Refreshed]:
    """Makes the refresh: clusters, and a memory of their means."""
    s = settings

    def by_density(target: Described, *, verbose: bool) -> np.ndarray:
        features = grouping.centred(target['feature'], target['camera'], s.cluster_centring)
        graph = retrieval.jaccard(features, k1=s.k1, k2=s.k2, form='spcl', progress=verbose)
        return dbscan(graph, eps=s.eps, min_samples=s.min_samples)

    def by_count(
        source: Described, target: Described, context: RefreshContext
    ) -> tuple[np.ndarray, Tree]:
        """Returns the clusters of constrained k-means with NIEC's count, and NIEC's sweep."""
        labelled = np.asarray(source['identity']) >= 0
        source = {name: values[labelled] for name, values in source.items()}
        features, new = (
            grouping.centred(domain['feature'], domain['camera'], s.cluster_centring)
            for domain in (source, target)
        )
        estimate = niec.estimate(
            context.key,
            features,
            source['identity'],
            new,
            target['camera'],
            s,
            progress=context.verbose,
        )
        labels = np.asarray(estimate.labels)
        small = np.bincount(labels)[labels] < s.min_samples
        return np.where(small, -1, labels), niec.table(estimate)

    def refresh(
        params: Params,
        state: State,
        source: Described | None,
        target: Described | None,
        context: RefreshContext,
    ) -> Refreshed:
        assert target is not None
        tables: Tree = {}
        if s.clustering == 'niec':
            assert source is not None
            labels, tables = by_count(source, target, context)
        else:
            labels = by_density(target, verbose=context.verbose)
        labels = cluster_memory.fitted(labels, largest)
        known, clusters = labels >= 0, int(labels.max()) + 1
        proxies = camera_proxies.proxies_of(labels, target['camera']) if s.camera_proxies else None
        of = labels if proxies is None else proxies.labels
        means = cluster_means(target['feature'][known], of[known], int(of.max()) + 1)
        memory = cluster_memory.memory_of(retrieval.unit(means), places)
        if proxies is not None:
            memory |= camera_proxies.names_of(proxies, places)
        report = {'identities_estimated': float(clusters), 'noise': float((~known).sum())}
        if clusters < 2:  # the loss of one cluster is 0: weight decay alone would move the network
            advice = f'a smaller method.min_samples ({s.min_samples})'
            if s.clustering == 'dbscan':
                ways = ('smaller', 'larger') if clusters else ('larger', 'smaller')
                advice = (
                    f'a {ways[0]} method.eps ({s.eps:g}) or a {ways[1]} method.min_samples'
                    f' ({s.min_samples})'
                )
            log.warning(
                'clustering found %s in %d images: this epoch trains nothing and leaves the model'
                ' as it was; %s finds more clusters',
                'one cluster' if clusters else 'nothing but noise',
                len(labels),
                advice,
            )
        state = state._replace(memory=memory)
        labels = labels if proxies is None else np.stack([labels, proxies.labels], axis=1)
        return Refreshed(labels, params, state, report, tables, useless=clusters < 2)

    return refresh
