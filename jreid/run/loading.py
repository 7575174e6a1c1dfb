"""From a finished run to features in one line."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid import methods
from jreid.data import Index
from jreid.data.pack import decode
from jreid.engine import sharding, steps
from jreid.engine.feeds import Feed
from jreid.evaluation.pairs import pair_distances, pair_steps
from jreid.methods.contract import SOURCE, TARGET, Method, Problem, Tree
from jreid.models.backbones import build
from jreid.retrieval import unit
from jreid.run.checkpoints import CheckpointError, Checkpoints
from jreid.run.config import to_config

log = logging.getLogger('jreid')

Images = np.ndarray | Sequence[str | pathlib.Path] | str | pathlib.Path


@dataclasses.dataclass(frozen=True)
class Model:
    """A run's system with its trained variables; `domain` is the one whose batch-norm statistics
    the run was evaluated with.
    """

    method: Method
    preparation: steps.Preparation
    problem: Problem
    variables: Tree
    config: ConfigDict
    domain: str


def load_run(
    workdir: str | pathlib.Path, *, checkpoint: str = 'auto', batch: int = 128
) -> tuple[Callable[[Images], np.ndarray], ConfigDict]:
    """The features of a run's model: (embed, config).

    `embed` takes uint8 RGB images [N, H, W, 3] of the config's size, or one or more paths of image
    files, and returns float32 features [N, D], L2-normalised where the method compares them so;
    images are compared by Euclidean distance.

    Args:
      workdir: the run's folder.
      checkpoint: 'last', 'best' (by the source's test split, where the run was trained with
        evaluation.select='best'), or 'auto' for what the config selects.
      batch: images a step.

    Raises:
      FileNotFoundError: the folder holds no run.
      CheckpointError: the run has no readable checkpoint.
    """
    model = load_model(workdir, checkpoint=checkpoint)
    config, method, size = model.config, model.method, model.problem.image_size
    step = steps.embed_step(
        method, model.preparation, model.domain, mirror=config.evaluation.mirror
    )

    def embed(images: Images) -> np.ndarray:
        several = listed(images)
        features = []
        for start in range(0, len(several), batch):
            array = pixels(several[start : start + batch], size)
            padded = np.concatenate([array, np.zeros((batch - len(array), *size, 3), np.uint8)])
            features.append(
                np.asarray(step(model.variables, jax.numpy.asarray(padded)))[: len(array)]
            )
        found = np.concatenate(features) if features else np.zeros((0, 0), np.float32)
        return unit(found) if method.normalise else found

    return embed, config


def load_scorer(
    workdir: str | pathlib.Path, *, checkpoint: str = 'auto'
) -> tuple[Callable[[Images, Images], np.ndarray], ConfigDict]:
    """How alike a run's model finds pairs of images, of systems that compare pairs rather than
    features: (score, config).

    `score` takes queries and a gallery, as `load_run` takes images, and returns float32 [queries,
    gallery]: the probability that two images show the same person, averaged over mirror images
    where the run's evaluation was. What lies near 1 keeps the digits of float32 only: rank by
    `jreid.evaluation.pairs.pair_distances`, as the run's evaluation does, where that matters.

    Args:
      workdir, checkpoint: see `load_run`.

    Raises:
      ValueError: the run's system compares features.
    """
    model = load_model(workdir, checkpoint=checkpoint)
    config, size = model.config, model.problem.image_size
    if model.method.score is None:
        raise ValueError(
            f'{workdir} is a run of {config.variant}, which compares features; use jreid.load_run'
        )
    mesh = sharding.make_mesh()
    compiled = pair_steps(
        model.method, model.preparation, model.domain, mirror=config.evaluation.mirror
    )

    def feed(images: Images) -> Feed:
        several = listed(images)
        names, rows = (
            np.array([f'/{row}' for row in range(len(several))]),
            np.full(len(several), -1),
        )
        return Feed(
            Index(names, rows, rows),
            lambda plan: (pixels([several[row] for row in step], size) for step in plan),
            lambda: np.zeros(0),
        )

    def score(query: Images, gallery: Images) -> np.ndarray:
        settings = {name: config.evaluation[name] for name in ('batch', 'pairs', 'mirror')}
        return 1 - pair_distances(
            compiled,
            model.variables,
            feed(query),
            feed(gallery),
            mesh=mesh,
            **settings,
            progress=False,
        )

    return score, config


def listed(images: Images) -> np.ndarray | Sequence[Any]:
    """Several images: one path alone is a list of one."""
    return [images] if isinstance(images, (str, pathlib.Path)) else images


def pixels(images: np.ndarray | Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    """uint8 images [N, H, W, 3] of that size, of arrays or of files.

    Raises:
      ValueError: arrays of another type or size.
    """
    whole = isinstance(images, np.ndarray) and images.dtype.kind not in 'UO'
    array = (
        np.asarray(images)
        if whole
        else np.stack([x if isinstance(x, np.ndarray) else decode(str(x), size) for x in images])
    )
    if array.dtype != np.uint8 or array.shape[1:] != (*size, 3):
        raise ValueError(
            f'images are {array.dtype} {array.shape}; expected uint8 [N, {size[0]}, {size[1]}, 3]'
            ' or paths'
        )
    return array


def load_model(
    workdir: str | pathlib.Path,
    *,
    checkpoint: str = 'auto',
    edit: Callable[[ConfigDict], ConfigDict] = lambda config: config,
) -> Model:
    """The model of a run; arguments and errors are those of `load_run`. `edit` changes the
    config, what the model was trained with aside.
    """
    folder = pathlib.Path(workdir)
    if not (folder / 'config.json').is_file():
        raise FileNotFoundError(
            f'{folder} holds no run: config.json is missing; expected the --workdir of a run of'
            ' jreid.main'
        )
    if checkpoint not in ('auto', 'last', 'best'):
        raise ValueError(f"checkpoint is '{checkpoint}'; expected 'last', 'best' or 'auto'")
    config = edit(to_config(json.loads((folder / 'config.json').read_text())))
    checkpoints = Checkpoints(
        folder / 'checkpoints', scored=config.evaluation.select == 'best', read_only=True
    )
    which = config.evaluation.select if checkpoint == 'auto' else checkpoint
    number = checkpoints.best() if which == 'best' else None
    if which == 'best' and number is None:
        raise CheckpointError(
            f"{folder} has no best checkpoint; it was not trained with evaluation.select='best'"
        )
    restored = checkpoints.restore_model(number=number)
    if restored is None:
        raise CheckpointError(f'{folder} has no checkpoint yet')
    size = (config.data.height, config.data.width)
    module, record = build(
        config.model.backbone, config.model.options, compute_dtype=config.train.compute_dtype
    )
    problem = Problem(**{**restored.meta['problem'], 'image_size': size})
    method = methods.build(config.method, module, problem)
    # Of a run that has not come to the target yet, the target's statistics are those of no image.
    begun = method.phases[: restored.meta['position']['phase'] + 1]
    trained_on = {stream.domain for phase in begun for stream in phase.streams.values()}
    variables = jax.tree.map(jax.numpy.asarray, restored.tree)
    return Model(
        method,
        steps.preparation(record, config.augment),
        problem,
        variables,
        config,
        TARGET if TARGET in trained_on else SOURCE,
    )
