"""Builds what a run trains from its config: the system, its jitted functions, the evaluator."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from jreid import methods
from jreid.engine.functions import Functions
from jreid.engine.steps import Preparation, preparation
from jreid.evaluation.evaluator import Evaluator
from jreid.methods.contract import Method, Problem
from jreid.models import backbones

Edit = Callable[[Method], Method]
"""A change of the system that a config names, e.g. one more term."""


@dataclasses.dataclass(frozen=True)
class System:
    """A system that is ready to be trained or used.

    Attributes:
      method: the system.
      problem: the sizes that it was built for.
      functions: its jitted functions, each made once.
      evaluator: measures it on test splits.
    """

    method: Method
    problem: Problem
    functions: Functions
    evaluator: Evaluator

    @property
    def preparation(self) -> Preparation:
        """Returns how its images are prepared."""
        return self.functions.preparation


def build_system(
    config: ConfigDict, problem: Problem, mesh: Mesh, edit: Edit = lambda method: method
) -> System:
    """Builds the system of a config.

    Args:
      problem: the sizes of the data.
      mesh: the devices.
      edit: changes the system that the config names.

    Raises:
      ValueError: a setting that the system, its backbone or the evaluation does not accept.
    """
    module, record = backbones.build(
        config.model.backbone,
        config.model.options,
        compute_dtype=config.train.compute_dtype,
        remat=config.train.remat,
    )
    method = edit(methods.build(config.method, module, problem))
    mirror = config.evaluation.mirror
    functions = Functions(method, preparation(record, config.augment), mirror=mirror)
    evaluator = build_evaluator(functions, mesh, config.evaluation, seed=config.seed)
    return System(method, problem, functions, evaluator)


def build_evaluator(
    functions: Functions, mesh: Mesh, settings: Mapping[str, Any], *, seed: int
) -> Evaluator:
    """Builds an evaluator from `config.evaluation`."""
    names = {field.name for field in dataclasses.fields(Evaluator)}
    plain = {name: value for name, value in settings.items() if name in names}
    return Evaluator(functions, mesh, seed, **plain)
