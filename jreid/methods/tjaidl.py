"""TJ-AIDL: transferable joint attribute-identity deep learning (Wang, Zhu, Gong & Li, CVPR 2018).
Equation numbers are the paper's.

An identity branch learns who is on an image of the source, an attribute branch which attributes the
person has. Between them stands the identity inferred attribute space (IIA): an auto-encoder of the
identity feature whose code is drawn to the attribute logits, and they to it. Step I trains the
identity branch alone, then all three parts. Step II adapts attribute branch and IIA to the target
with soft attribute labels. Retrieval is by the attribute branch's feature.

Three losses, each the gradient of one part alone, by `stop_gradient` (`routed_losses`): L_id (Eq.
1) of the identity branch, L_IIA (Eq. 6) of the IIA, which sees the identity feature as a constant,
and L_att-total (Eq. 7) of the attribute branch. So one optimizer serves.

Settled where the paper is silent or contradicts itself (see the design's methods page): Eq. 4
compares logits with logits; hidden layers of the IIA have ReLU, its code has none; Eq. 3 and 4 are
means over a feature's entries (they are called mean square errors), Eq. 2 and 5 sums over
attributes; the soft labels of step II are the sigmoid outputs of the model as it left step I, for
the images without random changes, made once by a refresh; in step II the identity branch is frozen
in whole: parameters, and batch-norm statistics (`frozen_statistics`). The attribute branch's
statistics are kept a domain. Ablations train each branch for as many iterations as TJ-AIDL does.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.losses import binary_cross_entropy, cross_entropy
from jreid.methods.common import domains
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
from jreid.methods.settings.tjaidl import Settings, check
from jreid.models.heads import average_pool

BRANCHES: dict[str, dict[str, tuple[str, ...]]] = {
    'tjaidl': {'identity_branch': ('identity',), 'attribute_branch': ('attributes',)},
    'attribute-only': {'attribute_branch': ('attributes',)},
    'id-only': {'identity_branch': ('identity',)},
    'independent': {'identity_branch': ('identity',), 'attribute_branch': ('attributes',)},
    'joint': {'shared_branch': ('identity', 'attributes')},
}
"""Form -> backbones and the labels that each one is supervised by (Tables 2 and 3)."""


class IIA(nn.Module):
    """The identity inferred attribute encoder and decoder: feature [B, D] -> (code [B, M],
    reconstruction [B, D]).

    Attributes:
      widths: of the encoder's hidden layers; the decoder has them the other way round.
      attributes: M, the width of the code.
    """

    widths: tuple[int, ...]
    attributes: int

    @nn.compact
    def __call__(self, feature: Array) -> tuple[Array, Array]:
        x = feature
        for i, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=f'encoder{i}')(x))
        code = nn.Dense(self.attributes, name='code')(x)
        x = code
        for i, width in enumerate(reversed(self.widths)):
            x = nn.relu(nn.Dense(width, name=f'decoder{i}')(x))
        return code, nn.Dense(feature.shape[-1], name='reconstruction')(x)


class Network(nn.Module):
    """The branches, their classifiers, and the IIA.

    Attributes:
      identity_branch, attribute_branch, shared_branch: images -> feature map; those that the form
        has.
      form: see `BRANCHES`.
      identities, attributes: classes of the classifiers.
      encoder_widths: of the IIA.
    """

    identity_branch: nn.Module | None
    attribute_branch: nn.Module | None
    shared_branch: nn.Module | None
    form: str
    identities: int
    attributes: int
    encoder_widths: tuple[int, ...]

    @nn.compact
    def __call__(self, images: Array, *, train: bool, only: str = '') -> dict[str, Array]:
        """Each branch's feature under its name, logits, the IIA's `code` and `reconstruction`;
        `only` names the one branch that is run.
        """
        out = {}
        for name, supervision in BRANCHES[self.form].items():
            if only and name != only:
                continue
            feature = out[name] = average_pool(getattr(self, name)(images, train=train))
            if 'identity' in supervision:
                out['identity'] = nn.Dense(self.identities, name='identity_classifier')(feature)
            if 'attributes' in supervision:
                out['attributes'] = nn.Dense(self.attributes, name='attribute_classifier')(feature)
        if self.form == 'tjaidl' and 'identity_branch' in out:
            # "No change is imposed" on the identity branch by the IIA (section 3.1.1).
            out['code'], out['reconstruction'] = IIA(
                self.encoder_widths, self.attributes, name='iia'
            )(jax.lax.stop_gradient(out['identity_branch']))
        return out


def tjaidl(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """TJ-AIDL, or one of the forms it is compared with, as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`; every branch is one of its kind.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: the form is not known, the source has no attributes where the form learns them, or
        iterations do not fill epochs.
    """
    check(problem, settings)
    supervision = BRANCHES[settings.form]
    attributes = len(problem.attribute_names)
    branches: dict[str, Any] = {
        name: backbone.clone() if name in supervision else None
        for name in ('identity_branch', 'attribute_branch', 'shared_branch')
    }
    network = Network(
        **branches,
        form=settings.form,
        identities=problem.source_identities,
        attributes=attributes,
        encoder_widths=settings.encoder_widths,
    )
    predicts = next((name for name, labels in supervision.items() if 'attributes' in labels), None)
    # Table 2: both features for independent supervision, else the last branch's: the attribute
    # branch's wherever there is one.
    retrieval = tuple(supervision) if settings.form == 'independent' else tuple(supervision)[-1:]
    phases = _phases(network, settings)
    adapts = phases[-1].name == 'adapt'

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        params, model_state = domains.initial(network, key, problem.image_size)
        return (
            params,
            model_state,
            {'soft_labels': jnp.zeros((problem.target_images, attributes) if adapts else (1, 1))},
        )

    def embed(variables: Tree, images: Array, domain: str) -> Array:
        out = domains.inference(
            network, variables, images, domain, only='' if len(retrieval) > 1 else retrieval[0]
        )
        return jnp.concatenate([out[name] for name in retrieval], axis=-1)

    def probabilities(variables: Tree, images: Array, domain: str) -> Array:
        assert predicts is not None
        return jax.nn.sigmoid(
            domains.inference(network, variables, images, domain, only=predicts)['attributes']
        )

    def describe(variables: Tree, images: Array, domain: str) -> Mapping[str, Array]:
        del domain
        return {'soft_labels': probabilities(variables, images, settings.frozen_statistics)}

    return Method(
        name='tjaidl',
        phases=phases,
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum, backbones=tuple(supervision)),
        describe=describe if adapts else None,
        refresh=_soft_labels(problem.attribute_names) if adapts else None,
        refresh_reads=(TARGET,),
        backbones=tuple(supervision),
        attributes=probabilities if predicts else None,
    )


def _phases(network: Network, settings: Settings) -> tuple[Phase, ...]:
    """Steps I and II; of a form without them, one phase of the same length."""
    size = settings.epoch_iterations
    source, target = (
        {'source': Stream(SOURCE, 'plain', settings.batch)},
        {'target': Stream(TARGET, 'plain', settings.batch)},
    )
    optimizer = OptimizerSettings(
        'adam', settings.learning_rate, settings.schedule, b1=settings.b1, b2=settings.b2
    )

    def step_one(name: str, iterations: int, only: str = '', row: str = 'source_only') -> Phase:
        return Phase(
            name,
            iterations // size,
            source,
            _source_objective(network, settings, only),
            optimizer,
            steps=size,
            row=row,
        )

    before, together = settings.identity_iterations, settings.joint_iterations
    if settings.form == 'attribute-only':
        return (step_one('attributes', together),)
    if settings.form in ('id-only', 'joint'):
        return (step_one('identity' if settings.form == 'id-only' else 'joint', before + together),)
    phases = [step_one('identity', before, 'identity_branch', '')] if before else []
    phases += [step_one('joint', together)] if together else []
    if settings.form == 'tjaidl' and settings.adapt_iterations:
        epochs = settings.adapt_iterations // size
        adapt = dataclasses.replace(optimizer, learning_rate=settings.adapt_learning_rate)
        phases.append(
            Phase(
                'adapt',
                epochs,
                target,
                _adapt_objective(network, settings),
                adapt,
                steps=size,
                # once, before the first step: soft labels are those of the model as it left step I
                refresh_every=epochs,
                row='adapted',
                restart_statistics=True,
            )
        )
    return tuple(phases)


def routed_losses(
    out: Mapping[str, Array],
    identity: Array | None,
    attributes: Array,
    *,
    weight_reconstruction: float,
    weight_transfer: float,
) -> dict[str, Array]:
    """L_id (Eq. 1), L_IIA (Eq. 6) and L_att-total (Eq. 7), those whose outputs are there; each
    gives a gradient to its own part alone.

    Args:
      out: what `Network` gives: `identity` logits, `attributes` logits, the IIA's `code` and
        `reconstruction`, and `identity_branch`, the feature.
      identity: int [B], or None on the target.
      attributes: float [B, M], labels in 0..1 (soft ones on the target); a row of NaN says that the
        image has none, and no loss on labels looks at it.
      weight_reconstruction, weight_transfer: lambda 1 and 2.

    Returns:
      `identity`, `iia`, `attributes`, those that apply.
    """
    losses = {}
    if 'identity' in out and identity is not None:
        losses['identity'] = cross_entropy(out['identity'], identity)
    if 'code' in out and 'attributes' in out:
        reconstruction = _mean_square(
            out['reconstruction'], jax.lax.stop_gradient(out['identity_branch'])
        )
        transfer = _mean_square(out['code'], jax.lax.stop_gradient(out['attributes']))
        losses['iia'] = (
            _attribute_loss(out['code'], attributes)
            + weight_reconstruction * reconstruction
            + weight_transfer * transfer
        )
    if 'attributes' in out:
        losses['attributes'] = _attribute_loss(out['attributes'], attributes)
        if 'code' in out:
            losses['attributes'] += weight_transfer * _mean_square(
                jax.lax.stop_gradient(out['code']), out['attributes']
            )
    return losses


def _attribute_loss(logits: Array, labels: Array) -> Array:
    """Sum over attributes, mean over labelled images, of the sigmoid cross-entropy (Eq. 2 and
    5).
    """
    known = ~jnp.isnan(labels).any(axis=-1, keepdims=True)
    return logits.shape[-1] * binary_cross_entropy(logits, labels, where=known)


def _mean_square(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.square(x - y))


def _routed(
    out: Mapping[str, Array], identity: Array | None, attributes: Array, settings: Settings
) -> dict[str, Array]:
    return routed_losses(
        out,
        identity,
        attributes,
        weight_reconstruction=settings.weight_reconstruction,
        weight_transfer=settings.weight_transfer,
    )


def _source_objective(network: Network, settings: Settings, only: str) -> Callable:
    """Step I on labelled source images: all parts, or one branch alone."""

    def objective(params, model_state, batch, key, progress, extra):
        del key, progress, extra
        source = batch['source']
        out, model_state = domains.forward(
            network, params, model_state, source['image'], SOURCE, only=only
        )
        losses = _routed(out, source['identity'], source.get('attributes'), settings)
        metrics = {f'loss_{name}': loss for name, loss in losses.items()}
        if 'identity' in out:
            metrics['source_accuracy'] = jnp.mean(
                jnp.argmax(out['identity'], -1) == source['identity']
            )
        if 'code' in out and 'attributes' in out:
            metrics['consistency'] = _mean_square(out['code'], out['attributes'])
        return sum(losses.values()), (model_state, metrics)

    return objective


def _adapt_objective(network: Network, settings: Settings) -> Callable:
    """Step II: L_IIA and L_att-total on target images with the soft labels of the model as it
    left step I.
    """

    def objective(params, model_state, batch, key, progress, extra):
        del key, progress
        target = batch['target']
        variables = {'params': params, 'model_state': model_state}
        frozen = domains.inference(
            network, variables, target['image'], settings.frozen_statistics, only='identity_branch'
        )
        out, model_state = domains.forward(
            network, params, model_state, target['image'], TARGET, only='attribute_branch'
        )
        out = {**frozen, **out}
        losses = _routed(out, None, extra['soft_labels'][target['row']], settings)
        metrics = {f'loss_{name}': loss for name, loss in losses.items()}
        return sum(losses.values()), (
            model_state,
            {**metrics, 'consistency': _mean_square(out['code'], out['attributes'])},
        )

    return objective


def _soft_labels(names: tuple[str, ...]) -> Callable[..., Refreshed]:
    """A refresh that keeps what `describe` gave as the target's soft labels; no image gets a
    pseudo identity.
    """

    def refresh(
        key, params, extra, source, target, source_identity, last, *, progress=False
    ) -> Refreshed:
        del key, extra, source, source_identity, last, progress
        soft = np.asarray(target['soft_labels'], np.float32)
        entropy = -np.mean(
            soft * np.log(soft.clip(1e-12)) + (1 - soft) * np.log((1 - soft).clip(1e-12))
        )
        report = {'soft_label_entropy': float(entropy)}
        tables = {
            'soft_attributes': {
                name: column.round(6) for name, column in zip(names, soft.T, strict=True)
            }
        }
        return Refreshed(
            np.full(len(soft), -1, np.int32),
            params,
            {'soft_labels': jnp.asarray(soft)},
            report,
            tables,
        )

    return refresh
