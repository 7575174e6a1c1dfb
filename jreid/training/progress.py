"""Keeps where a run stands: train state, labels, position, checkpoints and metrics."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid.data import Index
from jreid.engine import feeds, sharding
from jreid.engine.state import TrainState, create
from jreid.methods.contract import TARGET, Params, Phase, State
from jreid.run import places
from jreid.run.checkpoints import Checkpoints
from jreid.run.clock import Clock
from jreid.run.config import flat_config
from jreid.run.position import Position
from jreid.run.records import Metrics, Window, write_labels, write_table
from jreid.run.system import System
from jreid.training.data import Data
from jreid.training.initialisation import initialise

log = logging.getLogger('jreid')


class Progress:
    """Where a run stands, in memory and in its folder.

    It opens at the latest readable checkpoint. Where there is none, it begins with another run's
    parameters (`init.run`), else with weights from a file (`model.weights`), else with fresh ones.

    Args:
      config: see `jreid/configs/base.py`.
      workdir: the run's folder.
      data: both sets.
      system: what is trained.
      steps_per_epoch: phase -> its steps per epoch.

    Raises:
      CheckpointError: the checkpoints are damaged, or of another network.
    """

    def __init__(
        self,
        config: ConfigDict,
        workdir: pathlib.Path,
        data: Data,
        system: System,
        steps_per_epoch: Callable[[Phase], int],
    ):
        self.config, self.workdir, self._system = config, workdir, system
        self._steps_per_epoch = steps_per_epoch
        self._mesh = system.evaluator.mesh
        self.clock = Clock(workdir)
        self.root = jax.random.key(config.seed)
        self.labels = feeds.first_labels(data.target_train.index, system.method.label_columns)
        self.position = Position()
        self._saved: tuple[int | bool, ...] = ()
        self.checkpoints = Checkpoints(
            workdir / 'checkpoints',
            keep=config.checkpoint.keep,
            scored=config.evaluation.select == 'best',
        )
        self.state = self._open()
        self.metrics = Metrics(
            workdir,
            step=int(self.state.step),
            position=self.position.metrics,
            active=jax.process_index() == 0,
        )
        self.metrics.config(int(self.state.step), flat_config(config.to_dict()))
        self.window = Window(self.position.window)

    def _open(self) -> TrainState:
        """Returns the state to go on with, the latest checkpoint's or a fresh one."""
        method = self._system.method
        params, state = method.init(jax.random.fold_in(self.root, 0))
        restored = self.checkpoints.restore(lambda meta: self._template(meta, params, state))
        if restored:
            self.position = Position(**restored.meta['position'])
            self.labels = np.asarray(restored.tree['labels'])
            log.info(
                'going on from checkpoint %d: phase %s, epoch %d',
                restored.number,
                self.phase_name,
                self.position.epoch,
            )
            return sharding.replicate(self._mesh, restored.tree['state'])
        params, state = initialise(
            method,
            params,
            state,
            backbone=self.config.model.backbone,
            weights=self.config.model.weights,
            run=self.config.init.run,
            prefix=self.config.model.weights_prefix,
        )
        return sharding.replicate(self._mesh, create(params, state, self._optimizer(0)))

    def _optimizer(self, number: int) -> Any:
        phase = self._system.method.phases[number]
        return phase.optimizer(phase.epochs * self._steps_per_epoch(phase))

    def _template(self, meta: Mapping[str, Any], params: Params, state: State) -> Any:
        number = min(meta['position']['phase'], len(self._system.method.phases) - 1)
        optimizer = self._optimizer(number)
        shapes = jax.eval_shape(lambda: create(params, state, optimizer))
        return {'state': shapes, 'labels': self.labels}

    @property
    def phase_name(self) -> str:
        """Returns the name of the phase that comes next, 'finished' after the last."""
        phases = self._system.method.phases
        done = self.position.phase == len(phases)
        return 'finished' if done else phases[self.position.phase].name

    def replace_state(self, new: TrainState) -> None:
        """Puts a new state on the devices, each leaf in a buffer of its own."""
        self.state = sharding.replicate(self._mesh, new)

    def next_phase(self) -> None:
        """Moves to the beginning of the next phase."""
        self.position = dataclasses.replace(
            self.position,
            phase=self.position.phase + 1,
            epoch=0,
            step=0,
            started=False,
            refreshed=False,
            phase_start=int(self.state.step),
        )

    def best(self) -> TrainState:
        """Returns the state of the checkpoint with the highest score."""
        now = sharding.local(self.state)
        restored = self.checkpoints.restore(
            lambda meta: self._template(meta, now.params, now.state),
            number=self.checkpoints.best(),
        )
        assert restored is not None
        return sharding.replicate(self._mesh, restored.tree['state'])

    def save(self, *, score: float | None = None) -> None:
        """Writes a checkpoint.

        Its number is ten times the step, plus one for each event since the step before.

        Args:
          score: by which the best checkpoint is chosen.
        """
        numbers = self.checkpoints.numbers()
        number = max(10 * int(self.state.step), (numbers[-1] + 1) if numbers else 0)
        self.position.metrics, self.position.window = self.metrics.position, self.window.sums
        meta = {
            'position': dataclasses.asdict(self.position),
            'problem': dataclasses.asdict(self._system.problem),
            'seed': self.config.seed,
            'config': json.loads(self.config.to_json_best_effort()),
        }
        tree = {'state': self.state, 'labels': self.labels}
        self.checkpoints.save(number, tree, meta, score=score)
        self._saved = self._place()
        self.note_time()

    def keep(self) -> None:
        """Writes a checkpoint unless the last one is of this very place."""
        if self._saved != self._place():
            self.save()

    def _place(self) -> tuple[int | bool, ...]:
        at = self.position
        return at.phase, at.epoch, at.step, at.started, at.refreshed

    def write(
        self,
        kind: str,
        values: Mapping[str, float],
        *,
        step: int | None = None,
        timing: Mapping[str, float] | None = None,
    ) -> None:
        """Writes a record to the run's metrics.

        Args:
          kind: 'train', 'refresh' or 'evaluation'.
          step: the state's by default.
        """
        step = int(self.state.step) if step is None else step
        self.metrics.write(step, kind, self.phase_name, values, timing=timing)

    def write_labels(self, index: Index, tables: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Writes the pseudo labels and tables of the last refresh, on the first process.

        Args:
          index: the target's training images.
          tables: see `jreid.methods.contract.Refreshed`.
        """
        if jax.process_index() > 0:
            return
        number, folder = self.position.refreshes, self.workdir / 'labels'
        bases = [places.roots(self.config.data)[TARGET]]
        images = places.shorten(index.path.tolist(), bases)
        write_labels(folder / f'target_{number:03d}.csv', images, self.labels)
        for name, table in tables.items():
            write_table(folder / f'{name}_{number:03d}.csv', table)

    def note_time(self) -> None:
        """Writes what the session took so far."""
        self.metrics.time(int(self.state.step), self.phase_name, self.clock)

    def close(self) -> None:
        """Closes the run's files."""
        self.metrics.close()
        self.checkpoints.close()
