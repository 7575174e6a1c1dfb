"""Where a run stands: what a resumed run must restore exactly."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class Position:
    """Where a run stands; kept in every checkpoint.

    Attributes:
      phase, epoch, step: number of the phase, of its epoch, and of the step within it that comes
        next.
      started: whether the phase has its optimizer state (and target statistics).
      refreshed: whether the refresh that is due at the start of this epoch has been done.
      useless: whether the last refresh gave labels that nothing can be learnt from.
      skipped: images left out so far because of useless labels.
      phase_start: global number of the phase's first step.
      refreshes: refreshes so far.
      metrics: bytes of metrics.jsonl written so far.
      window: sums of the metrics since the last record.
      rows: the summary's rows so far.
      report: what the last refresh reported.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    started: bool = False
    refreshed: bool = False
    useless: bool = False
    skipped: int = 0
    phase_start: int = 0
    refreshes: int = 0
    metrics: int = 0
    window: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: dict[str, Any] = dataclasses.field(default_factory=dict)
    report: dict[str, float] = dataclasses.field(default_factory=dict)
