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
from jreid.methods.settings.ptl import WHERE, Settings, check


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
