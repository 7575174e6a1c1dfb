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


def keep_config(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `config.json`, or check that the folder's run is the same.

    Raises:
      ValueError: the folder holds a run of another config; names the fields that differ.
    """
    path, new = workdir / 'config.json', json.loads(config.to_json_best_effort())
    if path.exists():
        old = json.loads(path.read_text())
        differing = [name for name in sorted({*flat_config(old), *flat_config(new)}) if flat_config(old).get(name) != flat_config(new).get(name)]
        if differing:
            told = '; '.join(f'{name}: {flat_config(old).get(name)!r} there, {flat_config(new).get(name)!r} now' for name in differing[:5])
            raise ValueError(f'{workdir} holds a run of another config ({told}); choose another --workdir or remove it')
        return
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
