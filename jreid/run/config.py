"""Checks a config before a run, and keeps it beside the run."""

import json
import pathlib
from typing import Any, get_args

from ml_collections import ConfigDict

from jreid import methods
from jreid.data.index import BAD_FILES
from jreid.engine import augment
from jreid.engine.feeds import check_loader
from jreid.evaluation.evaluator import SINGLE_SHOT
from jreid.files import write_text
from jreid.models import backbones
from jreid.retrieval.metrics import AveragePrecision

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
"""Fields (or groups) that a resumed run may have otherwise.

They change where things lie, how often they are written or how the end is evaluated, not what is
trained.
"""

CHOICES = {
    'evaluation.select': ('last', 'best'),
    'evaluation.average_precision': get_args(AveragePrecision),
    'train.compute_dtype': ('float32', 'bfloat16'),
    'evaluation.single_shot': SINGLE_SHOT,
    'data.bad_files': BAD_FILES,
}

LEAST = {
    'train.log_every': 1,
    'train.accumulate': 1,
    'train.batch_norm_groups': 1,
    'train.statistics_batch': 1,
    'checkpoint.every_epochs': 1,
    'checkpoint.every_steps': 0,
    'checkpoint.keep': 1,
    'evaluation.batch': 1,
    'evaluation.every': 0,
    'evaluation.pairs': 1,
    'evaluation.single_shot_repeats': 1,
    'evaluation.rerank_k1': 1,
    'evaluation.rerank_k2': 1,
    'figures.queries': 1,
    'figures.tsne_images': 10,
    'data.height': 1,
    'data.width': 1,
}

SHARES = ('evaluation.rerank_lambda',)


def check(config: ConfigDict) -> None:
    """Checks every field whose error would otherwise show only after the data is read, or never.

    The fields of `config.method` are checked against the types of the system's settings. Files,
    folders and the options of data sets are left to those who open them: a resumed run may do
    without them. `config.variant` is only a name here, since a caller's own system may have others.

    Raises:
      ValueError: names the field, its value, and what is expected.
    """
    for name, values in CHOICES.items():
        if (value := _field(config, name)) not in values:
            expected = ' or '.join(f"'{value}'" for value in values)
            raise ValueError(f"{name} is '{value}'; expected {expected}")
    for name, bound in LEAST.items():
        if not (value := _field(config, name)) >= bound:
            raise ValueError(f'{name} is {value}; expected {bound} or more')
    for name in SHARES:
        if not 0 <= (value := _field(config, name)) <= 1:
            raise ValueError(f'{name} is {value}; expected a number from 0 to 1')
    try:
        augment.check(**config.augment)
    except ValueError as error:
        raise ValueError(f'augment.{error}') from error
    check_loader(config.data.loader, config.data.bad_files)
    model, train = config.model, config.train
    backbones.build(
        model.backbone, model.options, compute_dtype=train.compute_dtype, remat=train.remat
    )
    methods.read_settings(config.method)


def _field(config: ConfigDict, name: str) -> Any:
    group, field = name.split('.')
    return config[group][field]


def check_kept(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Checks that a folder's run, if it holds one, has the same config.

    A folder without a checkpoint has no run yet.

    Raises:
      ValueError: the folder holds a run of another config; names the fields that differ.
    """
    path = workdir / 'config.json'
    begun = any(child.name.isdigit() for child in (workdir / 'checkpoints').glob('*'))
    if path.exists() and begun:
        old = flat_config(json.loads(path.read_text()))
        fresh = flat_config(json.loads(config.to_json_best_effort()))
        differing = [
            name
            for name in sorted({*old, *fresh})
            if old.get(name) != fresh.get(name) and not name.startswith(FREE)
        ]
        if differing:
            differences = '; '.join(
                f'{name}: {old.get(name)!r} there, {fresh.get(name)!r} now'
                for name in differing[:5]
            )
            raise ValueError(
                f'{workdir} holds a run of another config ({differences}); choose another'
                ' --workdir or remove it'
            )


def keep_config(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `config.json`, after `check_kept`."""
    check_kept(config, workdir)
    new = json.loads(config.to_json_best_effort())
    write_text(workdir / 'config.json', json.dumps(new, indent=2) + '\n')


def flat_config(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Returns the fields of a config as dotted names."""
    flat = {}
    for name, value in tree.items():
        flat.update(
            flat_config(value, f'{prefix}{name}.')
            if isinstance(value, dict) and value
            else {f'{prefix}{name}': value}
        )
    return flat


def to_config(tree: dict[str, Any]) -> ConfigDict:
    """Returns the config that `config.json` holds, with tuples as config files write them."""

    def tuples(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: tuples(entry) for name, entry in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(tuples(tree))
