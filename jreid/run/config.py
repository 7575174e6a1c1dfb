"""Checks a config before a run, and keeps it beside the run."""

import json
import math
import pathlib
from typing import Any

from ml_collections import ConfigDict

from jreid.files import write_text

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
"""Fields (or groups) that a resumed run may have otherwise: they change where things lie, how often
they are written or how the end is evaluated, not what is trained.
"""


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


SHARES = (
    'evaluation.rerank_lambda',
    'augment.erase_probability',
    'method.label_smoothing',
    'method.warmup',
    'method.dropout',
)


EPOCHS = ('epochs', 'iterations', 'rounds')


def check(config: ConfigDict) -> None:
    """Raise ValueError for a field that would stop the run, or be passed over, only after hours
    of training.
    """
    choices = {
        'evaluation.select': ('last', 'best'),
        'evaluation.average_precision': ('rank', 'trapezoid'),
        'train.compute_dtype': ('float32', 'bfloat16'),
    }
    for field, values in choices.items():
        group, name = field.split('.')
        if config[group][name] not in values:
            raise ValueError(
                f"{field} is '{config[group][name]}'; expected '{values[0]}' or '{values[1]}'"
            )
    fields = flat_config(json.loads(config.to_json_best_effort()))
    least = {
        **LEAST,
        **{
            name: 0
            for name in fields
            if name.startswith('method.') and name.split('_')[-1] in EPOCHS
        },
    }
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
            raise ValueError(
                f'augment.{name} is {pair}; expected two numbers above 0, the least and the'
                ' greatest, e.g. (0.02, 0.4)'
            )


def keep_config(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `config.json`, or check that the folder's run is the same; a folder without a
    checkpoint has no run yet.

    Raises:
      ValueError: the folder holds a run of another config; names the fields that differ.
    """
    path, new = workdir / 'config.json', json.loads(config.to_json_best_effort())
    begun = any(child.name.isdigit() for child in (workdir / 'checkpoints').glob('*'))
    if path.exists() and begun:
        old = flat_config(json.loads(path.read_text()))
        fresh = flat_config(new)
        differing = [
            name
            for name in sorted({*old, *fresh})
            if old.get(name) != fresh.get(name) and not name.startswith(FREE)
        ]
        if differing:
            told = '; '.join(
                f'{name}: {old.get(name)!r} there, {fresh.get(name)!r} now'
                for name in differing[:5]
            )
            raise ValueError(
                f'{workdir} holds a run of another config ({told}); choose another --workdir or'
                ' remove it'
            )
    write_text(path, json.dumps(new, indent=2) + '\n')


def flat_config(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """The fields of a config as dotted names."""
    flat = {}
    for name, value in tree.items():
        flat.update(
            flat_config(value, f'{prefix}{name}.')
            if isinstance(value, dict) and value
            else {f'{prefix}{name}': value}
        )
    return flat


def to_config(tree: dict[str, Any]) -> ConfigDict:
    """The config that `config.json` holds; lists are tuples again, as config files write them."""

    def tuples(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: tuples(entry) for name, entry in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(tuples(tree))
