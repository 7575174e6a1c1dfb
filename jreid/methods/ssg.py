"""SSG: self-similarity grouping, from the strong baseline, from PTL or from any other run.

Source: Fu et al., ICCV 2019; SSG-dagger and PTL+SSG: Huang, Chen & Huang, ICME 2020, section 4.2.
`docs/systems/ssg.md` says what was settled where the papers are silent.

The feature map is pooled whole, over its upper and over its lower half. In each round the target's
images are clustered three times, by each of the three features alone. Then the network is trained
with the triplet loss of each part on that part's clusters, and of a joint embedding on the whole's.

SSG-dagger is the PTL paper's simplified form: plain Euclidean distances, without re-ranking and
without features of the source.

Differs from the paper: DBSCAN sees k-reciprocal neighbours alone (all other pairs have the greatest
Jaccard distance), or the nearest `neighbours` images.
Differs from the paper where `cluster_centring` is 'camera': features are grouped less the mean of
their camera.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from scipy.sparse import csr_matrix

from jreid.losses.distances import unit
from jreid.methods import ptl
from jreid.methods.common import baseline, domains, grouping, plans
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
)
from jreid.methods.settings.ssg import Settings, check
from jreid.methods.ssg_terms import group_terms

log = logging.getLogger('jreid')

PARTS = ('whole', 'upper', 'lower')
"""The features, in the order of the pseudo labels' columns."""


def ssg(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds SSG as a `Method`.

    PTL or its baseline is trained first, where `source_epochs` is above 0; then come rounds of
    grouping and training.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.ssg.check`.
    """
    check(problem, settings)
    network = ptl.build_network(
        backbone,
        problem,
        settings,
        joint_width=settings.joint_width,
        joint_of=settings.joint_of,
    )

    def init(key: Array) -> tuple[Params, State]:
        # eps 0: not yet known. The first round sets it, and later rounds keep it.
        memory = {'eps': jnp.zeros(len(PARTS))}
        return domains.initial(network, key, problem.image_size, memory=memory)

    def pooled(params: Params, state: State, images: Array, domain: str) -> Mapping[str, Array]:
        views = (images, images[:, :, ::-1]) if settings.mirror else (images,)
        outs = [
            domains.inference(network, params, state, view, domain, tasks=(baseline.PARTS,))
            for view in views
        ]
        return {name: sum(out[name] for out in outs) / len(outs) for name in PARTS}

    def parts(params: Params, state: State, images: Array, domain: str) -> Mapping[str, Array]:
        features = pooled(params, state, images, domain)
        return {name: unit(x) for name, x in features.items()} if settings.normalise else features

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        each = settings.unit_length == 'parts'
        features = (parts if each else pooled)(params, state, images, domain)
        joined = jnp.concatenate([features[name] for name in PARTS], axis=-1)
        return joined if each or not settings.normalise else unit(joined)

    return Method(
        name='ssg',
        phases=_phases(network, settings),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum),
        describe=parts,
        refresh=_refresh(settings),
        refresh_reads=(SOURCE, TARGET) if settings.rerank and settings.source_weight else (TARGET,),
        label_columns=len(PARTS),
    )


def _phases(network: nn.Module, settings: Settings) -> tuple[Phase, ...]:
    first = ptl.phase(network, settings)
    if first.report_as == 'adapted':
        first = dataclasses.replace(first, report_as='proxy')
    # With per-domain statistics, the target's running ones from the previous phase beat a fresh
    # pass. Joint ones continue from the previous phase.
    tracked = TARGET in {stream.domain for stream in first.streams.values()}
    second = Phase(
        name='group',
        epochs=settings.rounds * settings.round_epochs,
        streams={
            'target': plans.pseudo(
                TARGET,
                settings.group_identities,
                settings.group_images,
                loose=settings.noise == 'part',
            )
        },
        forward=_forward(network, settings.batch_norm),
        terms=group_terms(
            PARTS,
            margin=settings.group_margin,
            group=settings.group_images if settings.group_triplets == 'group' else 0,
        ),
        optimizer=Optimizer(
            settings.group_optimizer,
            settings.group_learning_rate,
            'constant',
            weight_decay=settings.weight_decay,
        ),
        steps_per_epoch=settings.round_steps,
        refresh_every=settings.round_epochs,
        report_as='adapted',
        adapt_statistics=settings.batch_norm == 'split'
        and (not settings.source_epochs or not tracked),
    )
    return (first, second) if settings.source_epochs else (second,)


def _forward(network: nn.Module, batch_norm: str) -> Forward:
    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        images, tasks = batch['target']['image'], (baseline.PARTS,)
        out, state = baseline.forward(
            network, params, state, images, TARGET, tasks=tasks, batch_norm=batch_norm
        )
        return {'target': out}, state

    return forward


def _refresh(settings: Settings) -> Callable[..., Refreshed]:
    """Makes the refresh: a round's grouping, one part at a time."""
    s = settings

    def centred(described: Described, name: str) -> np.ndarray:
        return grouping.centred(described[name], described['camera'], s.cluster_centring)

    def graph_of(
        name: str, source: Described | None, target: Described, *, verbose: bool
    ) -> tuple[csr_matrix, float]:
        """Returns a part's graph, and the least distance of the pairs that it does not store."""
        features = centred(target, name)
        if not s.rerank:
            graph = grouping.euclidean_graph(features, neighbours=s.neighbours, progress=verbose)
            return graph, np.inf
        known = None if source is None else centred(source, name)
        graph = grouping.reranked_graph(
            features, known, k1=s.k1, k2=s.k2, source_weight=s.source_weight, progress=verbose
        )
        return graph, 1.0 if known is None else 1 - s.source_weight

    def refresh(
        params: Params,
        state: State,
        source: Described | None,
        target: Described | None,
        context: RefreshContext,
    ) -> Refreshed:
        assert target is not None
        labels, kept = [], []
        report: dict[str, float] = {}
        for name, eps in zip(PARTS, np.asarray(state.memory['eps']), strict=True):
            graph, limit = graph_of(name, source, target, verbose=context.verbose)
            groups = grouping.group(
                graph, eps=float(eps), rho=s.rho, min_samples=s.min_samples, limit=limit
            )
            labels.append(groups.labels)
            kept.append(groups.eps)
            report |= {
                f'eps_{name}': groups.eps,
                f'clusters_{name}': float(groups.clusters),
                f'noise_{name}': float((groups.labels < 0).sum()),
            }
        report['identities_estimated'] = report[f'clusters_{PARTS[0]}']
        memory = {'eps': jnp.asarray(kept, jnp.float32)}
        columns = np.stack(labels, axis=1)
        if s.noise == 'image':
            columns[(columns < 0).any(axis=1)] = -1
        noise = not (columns >= 0).any()
        if noise:
            log.warning(
                'grouping found nothing but noise in %d images (eps %s, from rho %g, method.rho):'
                ' this round trains nothing and leaves the model as it was. A greater rho makes eps'
                ' greater, a smaller method.min_samples (%d) makes groups of fewer images',
                len(columns),
                ', '.join(f'{name} {eps:.4g}' for name, eps in zip(PARTS, kept, strict=True)),
                s.rho,
                s.min_samples,
            )
        return Refreshed(columns, params, state._replace(memory=memory), report, useless=noise)

    return refresh
