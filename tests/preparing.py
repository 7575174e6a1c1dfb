"""Preparations and evaluators' settings: the base config's, but for those that a test names."""

import dataclasses

from jreid.configs import base
from jreid.engine.steps import Preparation
from jreid.evaluation.evaluator import Evaluator


def prepared(mean=(0.5,) * 3, std=(0.25,) * 3, **changes):
    """Returns a preparation; `changes` are fields of `config.augment`."""
    return Preparation(mean, std, **{**base.get_config().augment, **changes})


def still(mean=(0.5,) * 3, std=(0.25,) * 3):
    """Returns a preparation that changes nothing at random."""
    return prepared(mean, std, flip=False, pad=0, erase_probability=0.0)


def evaluation(**changes):
    """Returns the fields of an evaluator that are those of `config.evaluation`."""
    names = {field.name for field in dataclasses.fields(Evaluator)}
    settings = {**base.get_config().evaluation, **changes}
    return {name: value for name, value in settings.items() if name in names}
