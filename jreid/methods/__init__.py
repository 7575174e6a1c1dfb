"""The systems, one file a paper, as records of pure functions (`jreid.methods.contract.Method`)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from jreid.methods import dien, dmtnet, mtdnet, ptl, ssg, teacher, tjaidl
from jreid.methods.contract import Method, OptimizerSettings, Phase, Problem, Refreshed, Stream
from jreid.models.norm import BatchNorm

__all__ = [
    'METHODS',
    'Method',
    'OptimizerSettings',
    'Phase',
    'Problem',
    'Refreshed',
    'Stream',
    'build',
]

METHODS: dict[str, tuple[Callable[..., Method], type]] = {
    'dien': (dien.dien, dien.Settings),
    'dmtnet': (dmtnet.dmtnet, dmtnet.Settings),
    'mtdnet': (mtdnet.mtdnet, mtdnet.Settings),
    'ptl': (ptl.ptl, ptl.Settings),
    'ssg': (ssg.ssg, ssg.Settings),
    'teacher': (teacher.teacher, teacher.Settings),
    'tjaidl': (tjaidl.tjaidl, tjaidl.Settings),
}


def build(settings: Mapping[str, Any], backbone: nn.Module, problem: Problem) -> Method:
    """The method that `settings['name']` names, with the other settings.

    Raises:
      ValueError: no such method, a setting that it does not have or lacks, or target labels for a
        system that must not see any.
    """
    settings = dict(settings)
    name = settings.pop('name')
    if name not in METHODS:
        raise ValueError(f"method '{name}' does not exist; there are: {', '.join(METHODS)}")
    make, Settings = METHODS[name]
    fields = {field.name for field in dataclasses.fields(Settings)}
    if fields != set(settings):
        raise ValueError(
            f"settings of '{name}': not known {sorted(set(settings) - fields)}, missing"
            f' {sorted(fields - set(settings))}'
        )
    method = make(
        backbone,
        problem,
        Settings(**settings),
        momentum=getattr(backbone, 'momentum', BatchNorm.momentum),
    )
    if problem.target_labelled and not method.reads_target_labels:
        raise ValueError(
            f"data.target_labels is True, but '{name}' adapts to a target without labels; set it to"
            ' False'
        )
    return method
