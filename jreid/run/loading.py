"""Turns a finished run into features, or pair scores, in one line."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid.data import Index
from jreid.data.decoding import decode
from jreid.engine import sharding
from jreid.engine.feeds import Feed
from jreid.evaluation.pairs import pair_distances
from jreid.methods.contract import SOURCE, TARGET, Method, Params, Problem, State
from jreid.retrieval import unit
from jreid.run.checkpoints import CheckpointError, Checkpoints
from jreid.run.config import to_config
from jreid.run.system import System, build_system

log = logging.getLogger('jreid')

Images = np.ndarray | Sequence[str | pathlib.Path] | str | pathlib.Path


@dataclasses.dataclass(frozen=True)
class Model:
    """A run's system with what it was trained to.

    Attributes:
      system: the system, ready to be used.
      params, state: of the run's checkpoint.
      config: the run's config.
      domain: whose batch-norm statistics the run was evaluated with.
    """

    system: System
    params: Params
    state: State
    config: ConfigDict
    domain: str

    @property
    def method(self) -> Method:
        """The system's record."""
        return self.system.method

    @property
    def problem(self) -> Problem:
        """The sizes that the system was built for."""
        return self.system.problem


def load_run(
    workdir: str | pathlib.Path, *, checkpoint: str = 'auto', batch: int = 128
) -> tuple[Callable[[Images], np.ndarray], ConfigDict]:
    """Loads the features of a run's model: (embed, config).

    `embed` takes uint8 RGB images [N, H, W, 3] of the config's size, or one or more paths of image
    files. It returns float32 features [N, D], L2-normalised where the method compares them so.
    Compare images by Euclidean distance.

    Args:
      workdir: the run's folder.
      checkpoint: 'last', 'best' (by the source's test split, where the run was trained with
        evaluation.select='best'), or 'auto' for what the config selects.
      batch: images per step.

    Raises:
      FileNotFoundError: the folder holds no run.
      CheckpointError: the run has no readable checkpoint.
    """
    model = load_model(workdir, checkpoint=checkpoint)
    function, size = model.system.functions.embed(model.domain), model.problem.image_size

    def embed(images: Images) -> np.ndarray:
        several = listed(images)
        parts = []
        for start in range(0, len(several), batch):
            array = pixels(several[start : start + batch], size)
            filler = np.zeros((batch - len(array), *size, 3), np.uint8)
            padded = jax.numpy.asarray(np.concatenate([array, filler]))
            parts.append(np.asarray(function(model.params, model.state, padded))[: len(array)])
        features = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        return unit(features) if model.method.normalise else features

    return embed, model.config


def load_scorer(
    workdir: str | pathlib.Path, *, checkpoint: str = 'auto'
) -> tuple[Callable[[Images, Images], np.ndarray], ConfigDict]:
    """Loads the pair scores of a run whose system compares pairs of images: (score, config).

    `score` takes queries and a gallery, as `load_run` takes images. It returns float32
    [queries, gallery]: the probability that two images show the same person, averaged over mirror
    images where the run's evaluation was. Values near 1 keep the digits of float32 only: where
    that matters, rank by `jreid.evaluation.pairs.pair_distances`, as the run's evaluation does.

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
    evaluator = model.system.evaluator
    functions = model.system.functions.pairs(model.domain)

    def feed(images: Images) -> Feed:
        several = listed(images)
        names = np.array([f'/{row}' for row in range(len(several))])
        unknown = np.full(len(several), -1)

        def read(plan: np.ndarray) -> Any:
            return (pixels([several[row] for row in rows], size) for rows in plan)

        return Feed(Index(names, unknown, unknown), read, lambda: np.zeros(0))

    def score(query: Images, gallery: Images) -> np.ndarray:
        distances = pair_distances(
            functions,
            model.params,
            model.state,
            feed(query),
            feed(gallery),
            mesh=sharding.make_mesh(),
            batch=evaluator.batch,
            pairs=evaluator.pairs,
            mirror=model.system.functions.mirror,
            progress=False,
        )
        return 1 - distances

    return score, config


def listed(images: Images) -> np.ndarray | Sequence[Any]:
    """Returns several images; one path alone becomes a list of one."""
    return [images] if isinstance(images, (str, pathlib.Path)) else images


def pixels(images: np.ndarray | Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    """Returns uint8 images [N, H, W, 3] of one size, read from arrays or files.

    Raises:
      ValueError: arrays of another type or size.
    """
    whole = isinstance(images, np.ndarray) and images.dtype.kind not in 'UO'
    if whole:
        array = np.asarray(images)
    else:
        read = [x if isinstance(x, np.ndarray) else decode(str(x), size) for x in images]
        array = np.stack(read)
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
    """Loads the model of a run; arguments and errors are those of `load_run`.

    Args:
      edit: changes the config, except what the model was trained with.
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
    scored = config.evaluation.select == 'best'
    checkpoints = Checkpoints(folder / 'checkpoints', scored=scored, read_only=True)
    which = config.evaluation.select if checkpoint == 'auto' else checkpoint
    number = checkpoints.best() if which == 'best' else None
    if which == 'best' and number is None:
        raise CheckpointError(
            f"{folder} has no best checkpoint; it was not trained with evaluation.select='best'"
        )
    restored = checkpoints.restore_model(number=number)
    checkpoints.close()
    if restored is None:
        raise CheckpointError(f'{folder} has no checkpoint yet')
    size = (config.data.height, config.data.width)
    problem = Problem(**{**restored.meta['problem'], 'image_size': size})
    system = build_system(config, problem, sharding.make_mesh())
    # Of a run that has not come to the target yet, the target's statistics are those of no image.
    begun = system.method.phases[: restored.meta['position']['phase'] + 1]
    trained_on = {stream.domain for phase in begun for stream in phase.streams.values()}
    tree = jax.tree.map(jax.numpy.asarray, restored.tree)
    domain = TARGET if TARGET in trained_on else SOURCE
    return Model(system, tree['params'], tree['state'], config, domain)
