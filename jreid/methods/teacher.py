"""Teachers of PTL's proxy tasks: human parsing, or attributes, learnt on a labelled set of their
own (Huang et al. 2020, section 3.2).

A teacher is the strong baseline's backbone with the head that PTL will train on its predictions,
and no identities. It retrieves nothing: a run is evaluated by mean intersection over union
(parsing), or by balanced accuracy and F1 (attributes), and `python -m jreid.commands.label` writes
what it says of other images.

Differs from the paper: its teachers are other people's models; these have PTL's own heads.
"""

from collections.abc import Callable

import jax
from flax import linen as nn

from jreid.methods.common import baseline, domains
from jreid.methods.contract import (
    SOURCE,
    Array,
    Method,
    OptimizerSettings,
    Phase,
    Problem,
    Stream,
    Tree,
)
from jreid.methods.settings.teacher import Settings, check


def teacher(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """A teacher as a `Method`.

    Args:
      backbone: images -> feature map, from `jreid.models`.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the backbone's batch normalisation.

    Raises:
      ValueError: no such task, or a set without its labels.
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
    optimizer = OptimizerSettings(
        settings.optimizer,
        settings.learning_rate,
        settings.schedule,
        settings.warmup,
        boundaries=tuple(settings.boundaries),
        weight_decay=settings.weight_decay,
    )
    streams = {'source': Stream(SOURCE, 'plain', settings.batch, masks=parses)}

    def init(key: Array) -> tuple[Tree, Tree, Tree]:
        return (*domains.initial(network, key, problem.image_size), {})

    def parsing(variables: Tree, images: Array, domain: str) -> Array:
        return domains.inference(network, variables, images, domain, tasks=(baseline.PARSING,))[
            'parsing'
        ]

    def attributes(variables: Tree, images: Array, domain: str) -> Array:
        logits = domains.inference(
            network, variables, images, domain, tasks=(baseline.ATTRIBUTES,)
        )['attributes']
        return jax.nn.softmax(logits, axis=-1)[..., 1]

    return Method(
        name='teacher',
        phases=(
            Phase(
                'source',
                settings.source_epochs,
                streams,
                _objective(network, parses),
                optimizer,
                row='teacher',
            ),
        ),
        init=init,
        embed=baseline.embedding(network, 'pooled'),
        statistics=domains.batch_statistics(network, momentum),
        parsing=parsing if parses else None,
        attributes=None if parses else attributes,
        retrieves=False,
    )


def _objective(network: nn.Module, parses: bool) -> Callable:
    def objective(params, model_state, batch, key, progress, extra):
        del key, progress, extra
        source = batch['source']
        out, model_state = domains.forward(network, params, model_state, source['image'], SOURCE)
        loss = (
            baseline.parsing_loss(out['parsing'], source['mask'])
            if parses
            else baseline.attribute_loss(out['attributes'], source['attributes'])
        )
        return loss, (model_state, {})

    return objective
