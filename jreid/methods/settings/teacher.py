"""The settings of teachers of PTL's proxy tasks, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings.values import (
    Count,
    Optimizer,
    Rate,
    Schedule,
    Share,
    Size,
    Weight,
    check_values,
)

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for teachers."""

    needs_source = True  # no field: whether `data.source` may not be 'none'

    task: Literal['parsing', 'attributes'] = 'parsing'  # what the teacher predicts
    source_epochs: Count = 60  # of the teacher's own training set
    batch: Size = 64  # images
    optimizer: Optimizer = 'adam'  # 'sgd' has a momentum of 0.9
    learning_rate: Rate = 3.5e-4  # after the warm-up
    schedule: Schedule = 'steps'  # x0.1 at each of the boundaries
    boundaries: tuple[Share, ...] = (0.5, 0.8)  # shares of the training
    warmup: Share = 0.05  # share of the training
    weight_decay: Weight = 5e-4  # of the optimizer
    parsing_classes: Size = 8  # with the background
    parsing_width: Size = 256  # channels after the transposed convolution
    attribute_width: Size = 64  # hidden units per attribute's head


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    check_values(settings)
    parses = settings.task == 'parsing'
    if parses and 'source' not in problem.mask_domains:
        raise ValueError(
            'a parsing teacher needs part masks of its training images, and the source set names'
            ' none'
        )
    if not parses and not problem.attribute_names:
        raise ValueError(
            'an attribute teacher needs attributes of its training images, and the source set names'
            ' none'
        )
