"""PTL: proxy task learning for cross-domain person re-identification (Huang, Chen & Huang, ICASSP
2020).

While the strong baseline is trained on the labelled source, the same backbone parses people and
recognises attributes on images of the target (or of the source, or of both). The labels of these
proxy tasks are what teachers trained on other data say (`jreid.data.teacher_labels`), so the target
costs no label. Equation numbers are the paper's.

Settled where the paper is silent: attributes are binary, two classes a head, as in the paper's
figure 3; retrieval uses g and cosine distance, as the strong baseline does; the transposed
convolution is 3x3 with stride 2; batch-norm statistics are kept a domain (`batch_norm='split'`) or
common ('joint').
"""

import dataclasses
from collections.abc import Callable

from flax import linen as nn

from jreid.methods.common import baseline, domains
from jreid.methods.common.baseline import ATTRIBUTES, IDENTITY, PARSING
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Method,
    OptimizerSettings,
    Phase,
    Problem,
    Stream,
    Tree,
)

WHERE = {'none': (), 'source': (SOURCE,), 'target': (TARGET,), 'both': (SOURCE, TARGET)}
"""Domains that a proxy task is trained on."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for PTL; `configs/systems/ptl.py` says what each one is."""

    source_epochs: int
    identities_per_batch: int
    images_per_identity: int
    target_batch: int
    optimizer: str
    learning_rate: float
    schedule: str
    boundaries: tuple[float, ...]
    warmup: float
    weight_decay: float
    pooling: str
    margin: float
    label_smoothing: float
    weight_identity: float
    weight_triplet: float
    parsing: str
    parsing_classes: int
    parsing_width: int
    parsing_weight: float
    attributes: str
    attribute_width: int
    attribute_weight: float
    soft_labels: bool
    batch_norm: str
    feature: str
    normalise: bool


def ptl(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """PTL, its ablations and its baseline as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: a setting out of its range, or a proxy task without labels to learn it from.
    """
    check(problem, settings)
    network = build_network(backbone, problem, settings)

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        return (*domains.initial(network, key, problem.image_size), {})

    return Method(
        name='ptl',
        phases=(phase(network, settings),),
        init=init,
        embed=baseline.embedding(network, settings.feature),
        statistics=domains.batch_statistics(network, momentum),
        normalise=settings.normalise,
    )


def check(problem: Problem, settings: Settings) -> None:
    """Raises ValueError where the settings cannot be trained on these sets."""
    choices = {
        'parsing': WHERE,
        'attributes': WHERE,
        'feature': ('neck', 'pooled'),
        'batch_norm': ('split', 'joint'),
        'pooling': baseline.POOLINGS,
    }
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            raise ValueError(
                f"method.{name} is '{getattr(settings, name)}'; expected one of {', '.join(known)}"
            )
    if settings.images_per_identity < 2:
        raise ValueError(
            f'K = {settings.images_per_identity} images an identity leaves the triplet loss without'
            ' positives; expected 2 or more'
        )
    if settings.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {settings.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )
    names = {SOURCE: problem.attribute_names, TARGET: problem.target_attribute_names}
    for domain in WHERE[settings.parsing]:
        if domain not in problem.mask_domains:
            raise ValueError(
                f'human parsing on the {domain} needs label maps of its images: write them with'
                f' python -m jreid.commands.label and name data.{domain}_teacher'
            )
    for domain in WHERE[settings.attributes]:
        if not names[domain]:
            raise ValueError(
                f'attributes on the {domain} need labels of its images: write them with python -m'
                f' jreid.commands.label and name data.{domain}_teacher'
            )
    if settings.attributes == 'both' and tuple(names[SOURCE]) != tuple(names[TARGET]):
        raise ValueError(
            f'the source has {len(names[SOURCE])} attributes, the target {len(names[TARGET])}, and'
            ' they are not the same; label both with one teacher (data.source_teacher,'
            ' data.target_teacher)'
        )


def build_network(
    backbone: nn.Module, problem: Problem, settings: Settings, *, joint_width: int = 0
) -> baseline.Network:
    """The baseline with the heads of the proxy tasks that are trained."""
    names = (
        problem.target_attribute_names
        if TARGET in WHERE[settings.attributes]
        else problem.attribute_names
    )
    return baseline.Network(
        backbone,
        problem.source_identities,
        settings.pooling,
        parsing_classes=settings.parsing_classes if WHERE[settings.parsing] else 0,
        parsing_width=settings.parsing_width,
        attributes=len(names) if WHERE[settings.attributes] else 0,
        attribute_width=settings.attribute_width,
        joint_width=joint_width,
    )


def phase(network: nn.Module, settings: Settings) -> Phase:
    """The training of source identities with the proxy tasks beside it."""
    batch = settings.identities_per_batch * settings.images_per_identity
    parsed = WHERE[settings.parsing]
    streams = {
        'source': Stream(SOURCE, 'pxk', batch, settings.images_per_identity, masks=SOURCE in parsed)
    }
    if _tasks(settings, TARGET):
        streams['target'] = Stream(TARGET, 'plain', settings.target_batch, masks=TARGET in parsed)
    optimizer = OptimizerSettings(
        settings.optimizer,
        settings.learning_rate,
        settings.schedule,
        settings.warmup,
        boundaries=tuple(settings.boundaries),
        weight_decay=settings.weight_decay,
    )
    row = 'adapted' if 'target' in streams else 'source_only'
    return Phase(
        'source', settings.source_epochs, streams, _objective(network, settings), optimizer, row=row
    )


def _tasks(settings: Settings, domain: str) -> tuple[str, ...]:
    """The proxy tasks that are trained on a domain's images."""
    return tuple(
        task
        for task, where in ((PARSING, settings.parsing), (ATTRIBUTES, settings.attributes))
        if domain in WHERE[where]
    )


def _objective(network: nn.Module, settings: Settings) -> Callable:
    """Eq. 6."""

    def proxy_losses(out, batch, domain):
        losses = {}
        if 'parsing' in out:
            losses[f'parsing_{domain}'] = settings.parsing_weight * baseline.parsing_loss(
                out['parsing'], batch['mask']
            )
        if 'attributes' in out:
            losses[f'attributes_{domain}'] = settings.attribute_weight * baseline.attribute_loss(
                out['attributes'], batch['attributes'], soft=settings.soft_labels
            )
        return losses

    def objective(params, model_state, batch, key, progress, extra):
        del key, progress, extra
        source = batch['source']
        tasks = (IDENTITY, *_tasks(settings, SOURCE))
        out, model_state = baseline.forward(
            network,
            params,
            model_state,
            source['image'],
            SOURCE,
            tasks=tasks,
            batch_norm=settings.batch_norm,
        )
        losses = {
            **baseline.identity_losses(out, source['identity'], settings),
            **proxy_losses(out, source, SOURCE),
        }
        if 'target' in batch:
            target, tasks = batch['target'], _tasks(settings, TARGET)
            new, model_state = baseline.forward(
                network,
                params,
                model_state,
                target['image'],
                TARGET,
                tasks=tasks,
                batch_norm=settings.batch_norm,
            )
            losses |= proxy_losses(new, target, TARGET)
        return sum(losses.values()), (
            model_state,
            {**losses, 'source_accuracy': baseline.accuracy(out, source['identity'])},
        )

    return objective
