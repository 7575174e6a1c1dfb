"""SpCL: self-paced contrastive learning with a hybrid memory of both domains.

Source: Ge, Zhu, Chen, Zhao & Li, NeurIPS 2020, arXiv:2006.02713. Equation numbers are the paper's;
`docs/systems/spcl.md` says what was settled where the paper is silent.

One bank holds a vector per source class and per target image. Before each epoch the target's
vectors are clustered, and clusters count that two other radii confirm. An image is told from all
source classes, clusters and single images: a class of the target is the mean of its vectors.
Batch normalisation is per domain, statistics and parameters. No training on the source precedes.

Without a source the bank holds the target's images alone, and batch normalisation has one set of
parameters: the authors' unsupervised program.
"""

import logging
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.clustering import dbscan
from jreid.clustering.merging import cluster_means
from jreid.losses.distances import unit
from jreid.methods.common import domains, grouping, plans
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
)
from jreid.methods.settings.spcl import Settings, check
from jreid.methods.spcl_memory import hybrid, hybrid_contrast, move, self_paced
from jreid.models.heads import POOLINGS, BNNeck
from jreid.retrieval import jaccard

log = logging.getLogger('jreid')

SOURCE_NORMS = 'source_norms'
"""The parameters of the source's batch norms; the others' names hold the target's."""


class Network(nn.Module):
    """Backbone, pooling, neck, unit length."""

    backbone: nn.Module
    pooling: str
    neck_bias: bool

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        pooled = POOLINGS[self.pooling](self.backbone(images, train=train))
        return unit(BNNeck(self.neck_bias, name='neck')(pooled, train))


def spcl(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds SpCL as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.spcl.check`.
    """
    check(problem, settings)
    s, classes = settings, problem.source_identities
    names = (SOURCE, TARGET) if classes else (TARGET,)
    apart = s.norm_affine == 'domain' and bool(classes)
    network = Network(backbone, s.pooling, neck_bias=apart)

    def of(domain: str, params: Params) -> Params:
        """Returns what the network has in a domain."""
        if not apart or domain == TARGET:
            return params
        return domains.with_norm_parameters(params, params[SOURCE_NORMS])

    def begin(params: Params, state: State) -> tuple[Params, State]:
        """Lets the source's batch norms begin as the target's: these are what weights give."""
        norms = domains.norm_parameters(params, state.statistics[TARGET])
        return {**params, SOURCE_NORMS: jax.tree.map(jnp.copy, norms)}, state

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        return domains.inference(network, of(domain, params), state, images, domain)

    def init(key: Array) -> tuple[Params, State]:
        params, state = domains.initial(network, key, problem.image_size)
        images = jnp.zeros((1, *problem.image_size, 3))
        width = jax.eval_shape(lambda: embed(params, state, images, TARGET)).shape[1]
        entries = classes + problem.target_images
        # The label of an entry of the bank is its class; -1: the limit is not known yet.
        memory = {
            'bank': jnp.zeros((entries, width)),
            'label': jnp.arange(entries, dtype=jnp.int32),
            'camera': jnp.zeros(problem.target_images, jnp.int32),
            'limit': jnp.full((), -1, jnp.float32),
        }
        state = state._replace(memory=memory)
        return begin(params, state) if apart else (params, state)

    def describe(params: Params, state: State, images: Array, domain: str) -> Mapping[str, Array]:
        return {'feature': embed(params, state, images, domain)}

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        outputs = {}
        for domain in names:
            images = batch[domain]['image']
            feature, state = domains.forward(network, of(domain, params), state, images, domain)
            outputs[domain] = {'feature': feature}
        return outputs, state

    def entry(batch: Batch, domain: str) -> Array:
        """Returns the rows of the bank that a domain's images stand in."""
        return batch[SOURCE]['identity'] if domain == SOURCE else classes + batch[TARGET]['row']

    def term(domain: str) -> Callable[..., Array]:
        def contrast(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
            bank, label = state.memory['bank'], state.memory['label']
            feature, own = outputs[domain]['feature'], label[entry(batch, domain)]
            later = None
            if domain == SOURCE and s.source_gradient == 'moved':
                later = moved(bank, outputs, batch, (TARGET,))
            return hybrid_contrast(
                feature, own, bank, label, temperature=s.temperature, later=later
            )

        return contrast

    def moved(bank: Array, outputs: Outputs, batch: Batch, by: tuple[str, ...]) -> Array:
        """Returns the bank after the update by these domains' images."""
        features = jnp.concatenate([outputs[domain]['feature'] for domain in by])
        entries = jnp.concatenate([entry(batch, domain) for domain in by])
        return move(bank, jax.lax.stop_gradient(features), entries, momentum=s.momentum)

    def after_update(params: Params, state: State, outputs: Outputs, batch: Batch) -> State:
        del params
        bank = moved(state.memory['bank'], outputs, batch, names)
        return state._replace(memory={**state.memory, 'bank': bank})

    sizes = s.identities_per_batch, s.images_per_identity
    streams = {TARGET: hybrid(*sizes), SOURCE: plans.cross_camera(SOURCE, *sizes)}
    phase = Phase(
        name='joint',
        epochs=s.epochs,
        streams={domain: streams[domain] for domain in reversed(names)},
        forward=forward,
        terms={domain: term(domain) for domain in names},
        optimizer=Optimizer(
            'adam',
            s.learning_rate,
            s.schedule,
            s.warmup,
            boundaries=tuple(s.boundaries),
            weight_decay=s.weight_decay,
        ),
        after_update=after_update,
        steps_per_epoch=s.steps,
        refresh_every=1,
        report_as='adapted',
        adapt_statistics=s.estimate_statistics,
        start=begin if apart else None,
    )
    return Method(
        name='spcl',
        phases=(phase,),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum),
        describe=describe,
        refresh=_refresh(settings, classes),
        refresh_reads=lambda refreshes: () if refreshes else names,
    )


def _refresh(settings: Settings, classes: int) -> Callable[..., Refreshed]:
    """Makes the refresh: the bank at the first one, clusters, and which of them are reliable."""
    s = settings

    def refresh(
        params: Params,
        state: State,
        source: Described | None,
        target: Described | None,
        context: RefreshContext,
    ) -> Refreshed:
        memory = dict(state.memory)
        if target is not None:
            parts = [unit(target['feature'])]
            if source is not None:
                known = np.asarray(source['identity']) >= 0
                means = cluster_means(source['feature'][known], source['identity'][known], classes)
                parts.insert(0, unit(means))
            memory['bank'] = jnp.concatenate(parts)
            memory['camera'] = jnp.asarray(target['camera'], jnp.int32)
        instances = np.asarray(memory['bank'])[classes:]
        if s.cluster_centring == 'camera':
            camera = np.asarray(memory['camera'])
            instances = np.asarray(unit(grouping.centred(instances, camera, 'camera')))
        graph = jaccard(instances, k1=s.k1, k2=s.k2, form='spcl', progress=context.verbose)
        labels, tight, loose = (
            dbscan(graph, eps=s.eps + gap, min_samples=s.min_samples)
            for gap in (0.0, -s.eps_gap, s.eps_gap)
        )
        labels, limit = self_paced(
            labels, tight, loose, float(memory['limit']), share=s.independence
        )
        memory['limit'] = jnp.asarray(limit, jnp.float32)
        # Un-clustered images are classes of their own, and classes are numbered without gaps.
        own = np.unique(grouping.alone(labels), return_inverse=True)[1]
        label = np.concatenate([np.arange(classes), classes + own])
        memory['label'] = jnp.asarray(label, jnp.int32)
        clusters = len(np.unique(labels[labels >= 0]))
        report = {
            'identities_estimated': float(clusters),
            'unclustered': float((labels < 0).sum()),
            'independence_limit': float(limit),
        }
        alone = len(np.unique(label)) < 2
        if alone:  # the loss of one class is 0: weight decay alone would move the network
            log.warning(
                'all %d images are one cluster, and there is no source: nothing is trained from'
                ' here on, since the bank stays as it is; a smaller method.eps (%g) or a larger'
                ' method.min_samples (%d) parts them',
                len(labels),
                s.eps,
                s.min_samples,
            )
        return Refreshed(labels, params, state._replace(memory=memory), report, useless=alone)

    return refresh
