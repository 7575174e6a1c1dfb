"""Where a run stands, and whose run it is: what a resumed run must find as it was."""

import dataclasses
import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from jreid.writers import write_atomically


@dataclasses.dataclass
class Position:
    """Where a run stands; kept in every checkpoint.

    Attributes:
      phase, epoch, step: number of the phase, of its epoch, and of the step within it that comes next.
      started: whether the phase has its optimizer state (and target statistics).
      refreshed: whether the refresh that is due at the start of this epoch has been done.
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
    phase_start: int = 0
    refreshes: int = 0
    metrics: int = 0
    window: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: dict[str, Any] = dataclasses.field(default_factory=dict)
    report: dict[str, float] = dataclasses.field(default_factory=dict)


FREE = ('figures.', 'checkpoint.', 'train.remat', 'data.root', 'data.source_root', 'data.target_root', 'data.pack_folder', 'data.loader', 'evaluation.batch')
"""Fields (or groups) that a resumed run may have otherwise: they change where things lie or how often they are written, not what is trained."""


def check(config: ConfigDict) -> None:
    """Raise ValueError for a field that would stop the run, or be passed over, only after hours of training."""
    choices = {'evaluation.select': ('last', 'best'), 'evaluation.average_precision': ('rank', 'trapezoid'), 'train.compute_dtype': ('float32', 'bfloat16')}
    for field, values in choices.items():
        group, name = field.split('.')
        if config[group][name] not in values:
            raise ValueError(f"{field} is '{config[group][name]}'; expected '{values[0]}' or '{values[1]}'")
    for group, name in (('train', 'log_every'), ('train', 'accumulate'), ('checkpoint', 'every_epochs'), ('checkpoint', 'keep'), ('evaluation', 'batch')):
        if config[group][name] < 1:
            raise ValueError(f'{group}.{name} is {config[group][name]}; expected 1 or more')


def keep_config(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `config.json`, or check that the folder's run is the same; a folder without a checkpoint has no run yet.

    Raises:
      ValueError: the folder holds a run of another config; names the fields that differ.
    """
    path, new = workdir / 'config.json', json.loads(config.to_json_best_effort())
    begun = any(child.name.isdigit() for child in (workdir / 'checkpoints').glob('*'))
    if path.exists() and begun:
        old = flat_config(json.loads(path.read_text()))
        fresh = flat_config(new)
        differing = [name for name in sorted({*old, *fresh}) if old.get(name) != fresh.get(name) and not name.startswith(FREE)]
        if differing:
            told = '; '.join(f'{name}: {old.get(name)!r} there, {fresh.get(name)!r} now' for name in differing[:5])
            raise ValueError(f'{workdir} holds a run of another config ({told}); choose another --workdir or remove it')
    write_atomically(path, json.dumps(new, indent=2) + '\n')


def flat_config(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """The fields of a config as dotted names."""
    flat = {}
    for name, value in tree.items():
        flat.update(flat_config(value, f'{prefix}{name}.') if isinstance(value, dict) and value else {f'{prefix}{name}': value})
    return flat


def to_config(tree: dict[str, Any]) -> ConfigDict:
    """The config that `config.json` holds; lists are tuples again, as config files write them."""

    def tuples(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: tuples(entry) for name, entry in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(tuples(tree))
