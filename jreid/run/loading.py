"""Turns a finished run into features, or pair scores, in one line."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid.data import Index
from jreid.engine import sharding
from jreid.engine.feeds import Feed
from jreid.evaluation.pairs import pair_distances
from jreid.methods.contract import SOURCE, TARGET, Method, Params, Problem, State
from jreid.run.checkpoints import CheckpointError, Checkpoints
from jreid.run.config import to_config
from jreid.run.embedding import FeatureModel, Images, each, pixels
from jreid.run.system import System, build_system

log = logging.getLogger('jreid')


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
        """Returns the system's record."""
        return self.system.method

    @property
    def problem(self) -> Problem:
        """Returns the sizes that the system was built for."""
        return self.system.problem


def load_run(
    workdir: str | pathlib.Path, *, checkpoint: str = 'auto', batch: int = 128
) -> FeatureModel:
    """Loads a run's model: `model(images)` gives features float32 [N, D], RGB images in.

    Compare features by Euclidean distance; they have unit length where the system compares them so.
    `FeatureModel` says what images may be: paths, Pillow images, arrays, one or several. It also
    unpacks as (embed, config).

    Args:
      workdir: the run's folder.
      checkpoint: 'last', 'best' (by the source's test split, where the run was trained with
        evaluation.select='best'), or 'auto' for what the config selects.
      batch: the most images per step.

    Raises:
      FileNotFoundError: the folder holds no run.
      CheckpointError: the run has no readable checkpoint.
      ValueError: the run's system gives no features.
    """
    model = load_model(workdir, checkpoint=checkpoint)
    function, size = model.system.functions.embed(model.domain), model.problem.image_size
    one = jax.numpy.zeros((1, *size, 3), np.uint8)
    dim = jax.eval_shape(function, model.params, model.state, one).shape[-1]
    return FeatureModel(
        lambda images: function(model.params, model.state, jax.numpy.asarray(images)),
        dim=dim,
        image_size=size,
        config=model.config,
        normalise=model.method.normalise,
        batch=batch,
    )


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
        several = list(each(images))
        names = np.array([f'/{row}' for row in range(len(several))])
        unknown = np.full(len(several), -1)

        def read(plan: np.ndarray) -> Any:
            return (
                np.stack([pixels(several[row], size, int(row)) for row in rows]) for rows in plan
            )

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
