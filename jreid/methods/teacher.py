"""Teachers of PTL's proxy tasks, human parsing and attributes.

Source: Huang, Chen & Huang, ICME 2020 (PTL), section 3.2.

A teacher learns one task on a labelled set of its own. It is the strong baseline's backbone with
the head that PTL will train on its predictions, and has no identities. It retrieves nothing: a run
is evaluated by mean intersection over union (parsing), or by balanced accuracy and F1 (attributes).
`jreid label` writes its predictions on other images.

Differs from the paper: its teachers are other people's models; these have PTL's own heads.
"""

import jax
from flax import linen as nn

from jreid.methods.common import baseline, domains, plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    Array,
    Method,
    Params,
    Phase,
    Problem,
    State,
    Term,
)
from jreid.methods.settings.teacher import Settings, check


def teacher(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds a teacher as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: see `jreid.methods.settings.teacher.check`.
    """
    check(problem, settings)
    parses = settings.task == baseline.PARSING
    network = baseline.Network(
        backbone,
        identities=0,
        parsing_classes=settings.parsing_classes if parses else 0,
        parsing_width=settings.parsing_width,
        attributes=0 if parses else len(problem.attribute_names),
        attribute_width=settings.attribute_width,
    )

    def init(key: Array) -> tuple[Params, State]:
        return domains.initial(network, key, problem.image_size)

    def parsing(params: Params, state: State, images: Array, domain: str) -> Array:
        tasks = (baseline.PARSING,)
        return domains.inference(network, params, state, images, domain, tasks=tasks)['parsing']

    def attributes(params: Params, state: State, images: Array, domain: str) -> Array:
        tasks = (baseline.ATTRIBUTES,)
        out = domains.inference(network, params, state, images, domain, tasks=tasks)
        return jax.nn.softmax(out['attributes'], axis=-1)[..., 1]

    return Method(
        name='teacher',
        phases=(_phase(network, settings, parses=parses),),
        init=init,
        embed=baseline.embedding(network, 'pooled'),
        statistics=domains.batch_statistics(network, momentum),
        parsing=parsing if parses else None,
        attributes=None if parses else attributes,
        retrieves=False,
    )


def _phase(network: nn.Module, settings: Settings, *, parses: bool) -> Phase:
    term: Term = baseline.attribute_term('source', weight=1.0)
    if parses:
        term = baseline.parsing_term('source', weight=1.0)
    return Phase(
        name='source',
        epochs=settings.source_epochs,
        streams={'source': plans.plain(SOURCE, settings.batch, masks=parses)},
        forward=domains.source_forward(network),
        terms={settings.task: term},
        optimizer=Optimizer(
            settings.optimizer,
            settings.learning_rate,
            settings.schedule,
            settings.warmup,
            boundaries=tuple(settings.boundaries),
            weight_decay=settings.weight_decay,
        ),
        report_as='teacher',
    )
