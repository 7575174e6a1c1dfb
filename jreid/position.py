"""Where a run stands, and whose run it is: what a resumed run must find as it was."""

import contextlib
import dataclasses
import json
import logging
import math
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from jreid.writers import write_atomically

log = logging.getLogger('jreid')


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


FREE = (
    'figures.',
    'checkpoint.',
    'train.remat',
    'data.root',
    'data.source_root',
    'data.target_root',
    'data.pack_folder',
    'data.loader',
    'evaluation.batch',
    'evaluation.rerank_',
)
"""Fields (or groups) that a resumed run may have otherwise: they change where things lie, how often they are written or how the end is evaluated, not
what is trained."""

LEAST = {
    'train.log_every': 1,
    'train.accumulate': 1,
    'train.statistics_batch': 1,
    'checkpoint.every_epochs': 1,
    'checkpoint.every_steps': 0,
    'checkpoint.keep': 1,
    'evaluation.batch': 1,
    'evaluation.every': 0,
    'evaluation.rerank_k1': 1,
    'evaluation.rerank_k2': 1,
    'figures.queries': 1,
    'figures.tsne_images': 10,
    'data.height': 1,
    'data.width': 1,
    'augment.pad': 0,
}
SHARES = ('evaluation.rerank_lambda', 'augment.erase_probability', 'method.label_smoothing', 'method.warmup', 'method.dropout')
EPOCHS = ('epochs', 'iterations', 'rounds')


def check(config: ConfigDict) -> None:
    """Raise ValueError for a field that would stop the run, or be passed over, only after hours of training."""
    choices = {'evaluation.select': ('last', 'best'), 'evaluation.average_precision': ('rank', 'trapezoid'), 'train.compute_dtype': ('float32', 'bfloat16')}
    for field, values in choices.items():
        group, name = field.split('.')
        if config[group][name] not in values:
            raise ValueError(f"{field} is '{config[group][name]}'; expected '{values[0]}' or '{values[1]}'")
    fields = flat_config(json.loads(config.to_json_best_effort()))
    least = {**LEAST, **{name: 0 for name in fields if name.startswith('method.') and name.split('_')[-1] in EPOCHS}}
    for name, bound in least.items():
        if name in fields and not fields[name] >= bound:
            raise ValueError(f'{name} is {fields[name]}; expected {bound} or more')
    for name in SHARES:
        if name in fields and not 0 <= fields[name] <= 1:
            raise ValueError(f'{name} is {fields[name]}; expected a number from 0 to 1')
    for name, value in fields.items():
        last = name.rsplit('.', 1)[-1]
        if 'learning_rate' in last and not 0 <= value < math.inf:
            raise ValueError(f'{name} is {value}; expected a rate, 0 or above')
    for name in ('erase_area', 'erase_aspect'):
        pair = config.augment[name]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not 0 < pair[0] <= pair[1]:
            raise ValueError(f'augment.{name} is {pair}; expected two numbers above 0, the least and the greatest, e.g. (0.02, 0.4)')


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


@contextlib.contextmanager
def alone(workdir: pathlib.Path, *, active: bool = True) -> Iterator[None]:
    """Keep other processes from training in a run's folder, as long as the body runs and the file system has locks.

    Args:
      active: False on all hosts but the first, which share a folder with it.

    Raises:
      RuntimeError: another process trains there.
    """
    try:
        import fcntl
    except ImportError:
        active = False
    if not active:
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / '.lock', 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RuntimeError(f'another process ({file.read().strip()}) trains in {workdir}; wait for it, or choose another --workdir') from None
        except OSError:
            log.warning('%s lies on a file system without locks: see to it that one process alone trains there', workdir)
        file.truncate(0)
        file.write(f'{os.getpid()} on {socket.gethostname()}')
        file.flush()
        yield
