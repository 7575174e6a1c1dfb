"""SSG: self-similarity grouping (Fu et al., ICCV 2019), from the strong baseline, from PTL (Huang
et al. 2020, section 4.2) or from any other run.

The feature map is pooled whole, over its upper and over its lower half. In each round the target's
images are clustered three times, by each of the three features alone, and the network is trained
with the triplet loss of each part on that part's clusters, and of a joint embedding on the whole's
clusters.

SSG-dagger is the PTL paper's simplified form: plain Euclidean distances, without re-ranking and
without features of the source.

Settled where the papers are silent: a part's noise images are left out of that part's loss only
(the published program drops them from all); batches are drawn by the whole's clusters; the joint
embedding is a linear layer and batch normalisation on the three features together; features are
L2-normalised before distances are taken, in clustering and in retrieval.

Differs from the paper: DBSCAN sees k-reciprocal neighbours alone (all other pairs have the greatest
Jaccard distance), or the nearest `neighbours` images. Differs from the paper where
`cluster_centring` is 'camera': features are grouped less the mean of their camera (labels of
cameras are known, as elsewhere in re-ID); by default they are grouped as they come.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.losses import batch_hard_triplet
from jreid.losses.distances import unit
from jreid.methods import ptl
from jreid.methods.common import baseline, domains, grouping
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
from jreid.methods.settings.ssg import Settings, check

PARTS = ('whole', 'upper', 'lower')


def ssg(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """SSG as a `Method`: PTL or its baseline first, where `source_epochs` is above 0, then rounds
    of grouping and training.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: a setting out of its range, or a proxy task without labels to learn it from.
    """
    check(problem, settings)
    network = ptl.build_network(backbone, problem, settings, joint_width=settings.joint_width)
    first = ptl.phase(network, settings)
    first = dataclasses.replace(first, row='proxy' if first.row == 'adapted' else first.row)
    # Statistics of the target that the phase before has tracked are better than those of a pass
    # over it.
    fresh = not settings.source_epochs or TARGET not in {
        stream.domain for stream in first.streams.values()
    }
    second = Phase(
        'group',
        settings.rounds * settings.round_epochs,
        {
            'target': Stream(
                TARGET,
                'pseudo',
                settings.group_identities * settings.group_images,
                settings.group_images,
            )
        },
        _objective(network, settings),
        OptimizerSettings(
            settings.optimizer,
            settings.group_learning_rate,
            'constant',
            weight_decay=settings.weight_decay,
        ),
        refresh_every=settings.round_epochs,
        row='adapted',
        restart_statistics=fresh,
    )

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        # eps 0: not yet known. It is taken from the first round and kept, in checkpoints too.
        return (*domains.initial(network, key, problem.image_size), {'eps': jnp.zeros(len(PARTS))})

    def parts(variables: Tree, images: Array, domain: str) -> Mapping[str, Array]:
        out = domains.inference(network, variables, images, domain, tasks=(baseline.PARTS,))
        return {name: unit(out[name]) if settings.normalise else out[name] for name in PARTS}

    return Method(
        name='ssg',
        phases=(first, second) if settings.source_epochs else (second,),
        init=init,
        embed=lambda variables, images, domain: jnp.concatenate(
            list(parts(variables, images, domain).values()), axis=-1
        ),
        statistics=domains.batch_statistics(network, momentum),
        describe=parts,
        refresh=_refresh(settings),
        refresh_reads=(SOURCE, TARGET) if settings.rerank and settings.source_weight else (TARGET,),
        label_columns=len(PARTS),
    )


def _objective(network: nn.Module, settings: Settings) -> Callable:
    """Triplet losses: the joint embedding with the whole's clusters, each part with its own; an
    image that is noise for a part has label -1 there.
    """

    def objective(params, model_state, batch, key, progress, extra):
        del key, progress, extra
        target = batch['target']
        out, model_state = baseline.forward(
            network,
            params,
            model_state,
            target['image'],
            TARGET,
            tasks=(baseline.PARTS,),
            batch_norm=settings.batch_norm,
        )
        losses = {
            'joint': batch_hard_triplet(
                out['joint'], target['identity'], margin=settings.group_margin
            )
        }
        for column, name in enumerate(PARTS):
            losses[name] = batch_hard_triplet(
                out[name], target['identities'][:, column], margin=settings.group_margin
            )
        return sum(losses.values()), (model_state, losses)

    return objective


def _refresh(settings: Settings) -> Callable[..., Refreshed]:
    """A round's grouping, a part at a time."""

    def refresh(
        key, params, extra, source, target, source_identity, last, *, progress=False
    ) -> Refreshed:
        del key, source_identity, last
        labels, kept = [], []
        report: dict[str, float] = {}
        for name, eps in zip(PARTS, np.asarray(extra['eps']), strict=True):
            features = grouping.centred(
                np.asarray(target[name]), target['camera'], settings.cluster_centring
            )
            if settings.rerank:
                weight = settings.source_weight
                known = (
                    grouping.centred(
                        np.asarray(source[name]), source['camera'], settings.cluster_centring
                    )
                    if source is not None
                    else None
                )
                graph = grouping.reranked_graph(
                    features,
                    known,
                    k1=settings.k1,
                    k2=settings.k2,
                    source_weight=weight,
                    progress=progress,
                )
                limit = 1 - weight if known is not None else 1.0
            else:
                graph, limit = (
                    grouping.euclidean_graph(
                        features, neighbours=settings.neighbours, progress=progress
                    ),
                    np.inf,
                )
            found = grouping.group(
                graph,
                eps=float(eps),
                rho=settings.rho,
                min_samples=settings.min_samples,
                limit=limit,
            )
            labels.append(found.labels)
            kept.append(found.eps)
            report |= {
                f'eps_{name}': found.eps,
                f'clusters_{name}': float(found.clusters),
                f'noise_{name}': float((found.labels < 0).sum()),
            }
        report['identities_estimated'] = report[f'clusters_{PARTS[0]}']
        return Refreshed(
            np.stack(labels, axis=1), params, {'eps': jnp.asarray(kept, jnp.float32)}, report
        )

    return refresh
