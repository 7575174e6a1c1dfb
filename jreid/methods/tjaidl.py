"""TJ-AIDL: transferable joint attribute-identity deep learning.

Source: Wang, Zhu, Gong & Li, CVPR 2018. Equation numbers are the paper's; `docs/systems/tjaidl.md`
says what was settled where the paper is silent or contradicts itself.

An identity branch learns who is on an image of the source, an attribute branch which attributes the
person has. Between them stands the identity inferred attribute space (IIA): an auto-encoder of the
identity feature. A loss draws its code and the attribute logits to each other. Step I trains the
identity branch alone, then all three parts. Step II adapts attribute branch and IIA to the target
with soft attribute labels. Retrieval is by the attribute branch's feature.

Each of three losses trains one part alone, by `stop_gradient`: L_id (Eq. 1) the identity branch,
L_IIA (Eq. 6) the IIA, and L_att-total (Eq. 7) the attribute branch. So one optimizer serves.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.losses import binary_cross_entropy, cross_entropy
from jreid.methods.common import domains, plans
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
)
from jreid.methods.settings.tjaidl import Settings, check
from jreid.methods.tjaidl_network import BRANCHES, Network

LOSSES = ('identity', 'iia', 'attributes')
"""Of the identity branch, the IIA and the attribute branch."""


def tjaidl(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds TJ-AIDL, or one of the forms that it is compared with, as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`; every branch is one of its kind.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.tjaidl.check`.
    """
    check(problem, settings)
    supervision = BRANCHES[settings.form]
    attributes = len(problem.attribute_names)
    network = _network(backbone, problem, settings)
    predicting = next((name for name, labels in supervision.items() if 'attributes' in labels), '')
    # Table 2: both features for independent supervision, else the last branch's: the attribute
    # branch's wherever there is one.
    retrieval = tuple(supervision) if settings.form == 'independent' else tuple(supervision)[-1:]
    phases = _phases(network, settings)
    adapts = phases[-1].name == 'adapt'

    def init(key: Array) -> tuple[Params, State]:
        labelled = (problem.target_images, attributes) if adapts else (1, 1)
        memory = {'soft_labels': jnp.zeros(labelled)}
        return domains.initial(network, key, problem.image_size, memory=memory)

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        only = retrieval[0] if len(retrieval) == 1 else ''
        out = domains.inference(network, params, state, images, domain, only=only)
        return jnp.concatenate([out[name] for name in retrieval], axis=-1)

    def probabilities(params: Params, state: State, images: Array, domain: str) -> Array:
        out = domains.inference(network, params, state, images, domain, only=predicting)
        return jax.nn.sigmoid(out['attributes'])

    def describe(params: Params, state: State, images: Array, domain: str) -> Mapping[str, Array]:
        del domain
        labels = probabilities(params, state, images, settings.frozen_statistics)
        return {'soft_labels': labels}

    return Method(
        name='tjaidl',
        phases=phases,
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum, backbones=tuple(supervision)),
        describe=describe if adapts else None,
        refresh=_refresh(problem.attribute_names) if adapts else None,
        refresh_reads=(TARGET,),
        backbones=tuple(supervision),
        attributes=probabilities if predicting else None,
    )


def _network(backbone: nn.Module, problem: Problem, settings: Settings) -> Network:
    branches: dict[str, Any] = {
        name: backbone.clone() if name in BRANCHES[settings.form] else None
        for name in ('identity_branch', 'attribute_branch', 'shared_branch')
    }
    return Network(
        **branches,
        form=settings.form,
        identities=problem.source_identities,
        attributes=len(problem.attribute_names),
        encoder_widths=settings.encoder_widths,
    )


def _phases(network: Network, settings: Settings) -> tuple[Phase, ...]:
    """Returns steps I and II; of a form without them, one phase of the same length."""
    form, size = settings.form, settings.epoch_iterations
    optimizer = Optimizer(
        'adam', settings.learning_rate, settings.schedule, b1=settings.b1, b2=settings.b2
    )

    def step_one(name: str, iterations: int, only: str = '') -> Phase:
        supervision = BRANCHES[form]
        labels = supervision[only] if only else sum(supervision.values(), ())
        losses = LOSSES if form == 'tjaidl' and not only else labels
        return Phase(
            name=name,
            epochs=iterations // size,
            streams={'source': plans.plain(SOURCE, settings.batch)},
            forward=domains.source_forward(network, only=only),
            terms=routed_terms(SOURCE, losses, settings),
            metrics=_metrics(SOURCE, losses),
            optimizer=optimizer,
            steps_per_epoch=size,
            report_as='' if only else 'source_only',
        )

    before, together = settings.identity_iterations, settings.joint_iterations
    if form == 'attribute-only':
        return (step_one('attributes', together),)
    if form in ('id-only', 'joint'):
        return (step_one('identity' if form == 'id-only' else 'joint', before + together),)
    phases = [step_one('identity', before, 'identity_branch')] if before else []
    phases += [step_one('joint', together)] if together else []
    if form == 'tjaidl' and settings.adapt_iterations:
        phases.append(_step_two(network, settings, optimizer))
    return tuple(phases)


def _step_two(network: Network, settings: Settings, optimizer: Optimizer) -> Phase:
    epochs, losses = settings.adapt_iterations // settings.epoch_iterations, LOSSES[1:]
    return Phase(
        name='adapt',
        epochs=epochs,
        streams={'target': plans.plain(TARGET, settings.batch)},
        forward=_forward_target(network, settings),
        terms=routed_terms(TARGET, losses, settings),
        metrics=_metrics(TARGET, losses),
        optimizer=dataclasses.replace(optimizer, learning_rate=settings.adapt_learning_rate),
        steps_per_epoch=settings.epoch_iterations,
        # Once, before the first step: the soft labels are those of the model as it left step I.
        refresh_every=epochs,
        report_as='adapted',
        adapt_statistics=True,
    )


def _forward_target(network: Network, settings: Settings) -> Forward:
    """Makes the pass of step II, in which the identity branch stands still."""
    s = settings

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        images = batch['target']['image']
        frozen = domains.inference(
            network, params, state, images, s.frozen_statistics, only='identity_branch'
        )
        branch = {'only': 'attribute_branch'}
        if s.adapt_batch_norm == 'fixed':
            out = domains.inference(network, params, state, images, TARGET, **branch)
        else:
            out, state = domains.forward(network, params, state, images, TARGET, **branch)
        return {'target': {**frozen, **out}}, state

    return forward


def routed_terms(stream: str, losses: tuple[str, ...], settings: Settings) -> dict[str, Term]:
    """Returns L_id (Eq. 1), L_IIA (Eq. 6) and L_att-total (Eq. 7), each to train one part alone.

    Args:
      stream: 'source', whose attribute labels are the batch's, or 'target', whose soft labels the
        state's memory keeps or the outputs give (`adapt_labels`). No loss on labels looks at an
        image with NaN among its labels.
      losses: those of `LOSSES` that the phase has. Eq. 7 without the IIA is Eq. 2.
      settings: weights lambda 1 and 2, `weight_reconstruction` and `weight_transfer`.
    """
    s = settings

    def labels(outputs: Outputs, batch: Batch, state: State) -> Array:
        if stream == SOURCE:
            return batch[SOURCE]['attributes']
        if s.adapt_labels == 'anew':
            return jax.lax.stop_gradient(jax.nn.sigmoid(outputs[stream]['attributes']))
        return state.memory['soft_labels'][batch[stream]['row']]

    def identity(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        return cross_entropy(outputs[stream]['identity'], batch[stream]['identity'])

    def iia(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        out, fixed = outputs[stream], jax.lax.stop_gradient(outputs[stream])
        reconstruction = _mean_square(out['reconstruction'], fixed['identity_branch'])
        transfer = _mean_square(out['code'], fixed['attributes'])
        supervised = _attribute_loss(out['code'], labels(outputs, batch, state))
        return supervised + s.weight_reconstruction * reconstruction + s.weight_transfer * transfer

    def attributes(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        out, fixed = outputs[stream], jax.lax.stop_gradient(outputs[stream])
        loss = _attribute_loss(out['attributes'], labels(outputs, batch, state))
        if 'iia' in losses:
            loss += s.weight_transfer * _mean_square(fixed['code'], out['attributes'])
        return loss

    terms: dict[str, Term] = {'identity': identity, 'iia': iia, 'attributes': attributes}
    return {f'loss_{name}': terms[name] for name in LOSSES if name in losses}


def _metrics(stream: str, losses: tuple[str, ...]) -> dict[str, Term]:
    def accuracy(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        predicted = jnp.argmax(outputs[stream]['identity'], axis=-1)
        return jnp.mean(predicted == batch[stream]['identity'])

    def consistency(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        return _mean_square(outputs[stream]['code'], outputs[stream]['attributes'])

    metrics: dict[str, Term] = {}
    if 'identity' in losses:
        metrics['source_accuracy'] = accuracy
    if 'iia' in losses:
        metrics['consistency'] = consistency
    return metrics


def _attribute_loss(logits: Array, labels: Array) -> Array:
    """Computes Eq. 2 and 5, summed over attributes, as the mean over labelled images."""
    known = ~jnp.isnan(labels).any(axis=-1, keepdims=True)
    return logits.shape[-1] * binary_cross_entropy(logits, labels, where=known)


def _mean_square(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.square(x - y))


def _refresh(names: tuple[str, ...]) -> Callable[..., Refreshed]:
    """Makes the refresh, which keeps the soft labels; no image gets a pseudo label."""

    def refresh(
        params: Params,
        state: State,
        source: Described | None,
        target: Described | None,
        context: RefreshContext,
    ) -> Refreshed:
        del source, context
        assert target is not None
        soft = np.asarray(target['soft_labels'], np.float32)
        log_yes, log_no = (np.log(p.clip(1e-12)) for p in (soft, 1 - soft))
        entropy = -np.mean(soft * log_yes + (1 - soft) * log_no)
        columns = {name: p.round(6) for name, p in zip(names, soft.T, strict=True)}
        return Refreshed(
            np.full(len(soft), -1, np.int32),
            params,
            state._replace(memory={'soft_labels': jnp.asarray(soft)}),
            report={'soft_label_entropy': float(entropy)},
            tables={'soft_attributes': columns},
        )

    return refresh
