"""PTL: proxy task learning for cross-domain person re-identification.

Source: Huang, Chen & Huang, ICME 2020. Equation numbers are the paper's; `docs/systems/ptl.md`
says what was settled where the paper is silent.

While the strong baseline is trained on the labelled source, the same backbone parses people and
recognises attributes on images of the target, of the source, or of both. Teachers that were trained
on other data predict the labels of these proxy tasks (`jreid.data.teacher_labels`), so the target
costs no label.
"""

from flax import linen as nn

from jreid.methods.common import baseline, domains, plans
from jreid.methods.common.baseline import ATTRIBUTES, IDENTITY, PARSING
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Forward,
    Method,
    Outputs,
    Params,
    Phase,
    Problem,
    State,
    Term,
)
from jreid.methods.settings.ptl import WHERE, Settings, check


def ptl(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds PTL, one of its ablations or its baseline as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.ptl.check`.
    """
    check(problem, settings)
    network = build_network(backbone, problem, settings)

    def init(key: Array) -> tuple[Params, State]:
        return domains.initial(network, key, problem.image_size)

    return Method(
        name='ptl',
        phases=(phase(network, settings),),
        init=init,
        embed=baseline.embedding(network, settings.feature),
        statistics=domains.batch_statistics(network, momentum),
        normalise=settings.normalise,
    )


def build_network(
    backbone: nn.Module,
    problem: Problem,
    settings: Settings,
    *,
    joint_width: int = 0,
    joint_of: str = 'parts',
) -> baseline.Network:
    """Builds the baseline's network with the heads of the proxy tasks that are trained.

    Args:
      joint_width, joint_of: of the joint embedding that SSG adds, see `baseline.Network`.
    """
    names = problem.attribute_names
    if TARGET in WHERE[settings.attributes]:
        names = problem.target_attribute_names
    return baseline.Network(
        backbone,
        problem.source_identities,
        settings.pooling,
        parsing_classes=settings.parsing_classes if WHERE[settings.parsing] else 0,
        parsing_width=settings.parsing_width,
        attributes=len(names) if WHERE[settings.attributes] else 0,
        attribute_width=settings.attribute_width,
        joint_width=joint_width,
        joint_of=joint_of,
    )


def phase(network: nn.Module, settings: Settings) -> Phase:
    """Returns the training on source identities with the proxy tasks beside it."""
    tasks = {SOURCE: (IDENTITY, *_proxy_tasks(settings, SOURCE))}
    masks = PARSING in tasks[SOURCE]
    sizes = settings.identities_per_batch, settings.images_per_identity
    streams = {'source': plans.pxk(SOURCE, *sizes, masks=masks)}
    if proxies := _proxy_tasks(settings, TARGET):
        tasks[TARGET] = proxies
        masks = PARSING in proxies
        streams['target'] = plans.plain(TARGET, settings.target_batch, masks=masks)
    return Phase(
        name='source',
        epochs=settings.source_epochs,
        streams=streams,
        forward=_forward(network, tasks, settings.batch_norm),
        terms=_terms(settings),
        metrics={'source_accuracy': baseline.source_accuracy},
        optimizer=Optimizer(
            settings.optimizer,
            settings.learning_rate,
            settings.schedule,
            settings.warmup,
            boundaries=tuple(settings.boundaries),
            weight_decay=settings.weight_decay,
        ),
        report_as='adapted' if 'target' in streams else 'source_only',
    )


def _proxy_tasks(settings: Settings, domain: str) -> tuple[str, ...]:
    """Returns the proxy tasks that are trained on a domain's images."""
    trained = {PARSING: settings.parsing, ATTRIBUTES: settings.attributes}
    return tuple(task for task, where in trained.items() if domain in WHERE[where])


def _forward(network: nn.Module, tasks: dict[str, tuple[str, ...]], batch_norm: str) -> Forward:
    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        del context
        outputs = {}
        for domain, own in tasks.items():
            images = batch[domain]['image']
            outputs[domain], state = baseline.forward(
                network, params, state, images, domain, tasks=own, batch_norm=batch_norm
            )
        return outputs, state

    return forward


def _terms(settings: Settings) -> dict[str, Term]:
    """Returns the terms of Eq. 6, weighted."""
    s = settings
    terms = baseline.identity_terms(
        weight_identity=s.weight_identity,
        weight_triplet=s.weight_triplet,
        margin=s.margin,
        label_smoothing=s.label_smoothing,
    )
    for domain in (SOURCE, TARGET):
        proxies = _proxy_tasks(s, domain)
        if PARSING in proxies:
            terms[f'parsing_{domain}'] = baseline.parsing_term(domain, weight=s.parsing_weight)
        if ATTRIBUTES in proxies:
            terms[f'attributes_{domain}'] = baseline.attribute_term(
                domain, weight=s.attribute_weight, soft=s.soft_labels
            )
    return terms
