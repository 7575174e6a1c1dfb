"""Trains a run: data, state, restore, phases, refresh of pseudo labels, evaluation, saving, end.

What differs between systems is in the `Method` record (`jreid.methods.contract`). A run is a
function of its config alone: a step, an epoch's plan and a refresh depend on the seed and their
numbers. So a run that is killed at any moment and started again ends as an uninterrupted one.
"""

import contextlib
import dataclasses
import logging
import pathlib
import time
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid import methods
from jreid.engine import feeds, returns, sharding, state, steps
from jreid.evaluation.evaluator import scalars
from jreid.evaluation.kinds import ADABN, MODEL
from jreid.evaluation.pseudo_labels import pseudo_label_quality
from jreid.methods.contract import SOURCE, TARGET, Method, Phase, RefreshContext
from jreid.run.config import check, check_kept, keep_config
from jreid.run.lock import alone
from jreid.run.system import Edit, System, build_system
from jreid.training import finishing, measuring, preflight, refreshing, stopping, telling
from jreid.training.data import Data, open_data
from jreid.training.progress import Progress

log = logging.getLogger('jreid')

# Seconds. A refresh that took less is made anew after a stop, with the same result, rather than
# saved: of hundreds of arrays a checkpoint can take as long.
_DEAR_REFRESH = 60


def train(
    config: ConfigDict, workdir: str | pathlib.Path, *, edit: Edit = lambda method: method
) -> dict[str, Any]:
    """Runs, or goes on with, the training that `config` describes.

    Args:
      config: see `jreid/configs/base.py`.
      workdir: the run's folder: config, metrics, labels, checkpoints, figures, summary.
      edit: changes the system that the config names, e.g. by one more term; the same change is
        needed when the run is started again.

    Returns:
      What `summary.json` holds; empty on other processes than the first.

    Raises:
      ValueError: the config cannot be run, or the folder holds a run of another config.
      FloatingPointError: a loss term is not finite; names the step and the term.
      RuntimeError: another process trains in the folder.
      Stopped: SIGTERM came within `jreid.training.stopping.on_sigterm`; the checkpoint is written.
    """
    workdir = pathlib.Path(workdir)
    first_host = jax.process_index() == 0
    with alone(workdir, active=first_host):
        check(config)
        if first_host:
            check_kept(config, workdir)
        mesh = sharding.make_mesh()
        data = open_data(config.data, select_on_source=config.evaluation.select == 'best')
        size = (config.data.height, config.data.width)
        problem = data.problem(size, given_identities=methods.given_identities(config.method))
        system = build_system(config, problem, mesh, edit)
        run = Run(config, workdir, data, system)
        if first_host:  # not before: a run that cannot begin leaves nothing
            keep_config(config, workdir)
        with contextlib.closing(run.progress):
            while not run.finished:
                run.begin_phase()
                while run.position.epoch < run.phase.epochs:
                    if run.refresh_due():
                        run.refresh()
                    run.epoch()
                    run.after_epoch()
                    run.stop_if_asked()
                run.end_phase()
            return run.finish()


class Run:
    """Holds a run between the steps of the loop above; its methods are those steps, in order.

    Args:
      config: see `jreid/configs/base.py`.
      workdir: the run's folder.
      data: both sets.
      system: what is trained.

    Raises:
      ValueError: a phase cannot be trained on the data.
    """

    def __init__(self, config: ConfigDict, workdir: pathlib.Path, data: Data, system: System):
        self.config, self.data, self.system, self.feeds = config, data, system, data.training
        sizes = config.train.accumulate, system.evaluator.mesh.size, config.train.batch_norm_groups
        preflight.check_phases(system.method, self.feeds, *sizes)
        self.progress = Progress(config, workdir, data, system, self.steps_per_epoch)
        self.distances: np.ndarray | None = None
        self.first_host = jax.process_index() == 0

    @property
    def method(self) -> Method:
        """Returns the system."""
        return self.system.method

    @property
    def position(self):
        """Returns where the run stands."""
        return self.progress.position

    @property
    def state(self) -> state.TrainState:
        """Returns parameters, optimizer, statistics and memory."""
        return self.progress.state

    @property
    def phase(self) -> Phase:
        """Returns the phase that the run is in."""
        return self.method.phases[self.position.phase]

    @property
    def finished(self) -> bool:
        """Returns whether all phases have ended."""
        return self.position.phase == len(self.method.phases)

    @property
    def domain(self) -> str:
        """Returns whose batch-norm statistics test images are embedded with in this phase.

        The target's as soon as a phase trains on it.
        """
        return TARGET if _trains_on_target([self.phase]) else SOURCE

    def steps_per_epoch(self, phase: Phase) -> int:
        """Returns the steps in an epoch of a phase."""
        first = next(iter(phase.streams.values()))
        images = len(self.feeds[first.domain].index)
        return phase.steps_per_epoch or feeds.epoch_steps(first, images)

    # -- phases --------------------------------------------------------------------------------

    def begin_phase(self) -> None:
        """Makes the optimizer and the step and, where the phase asks for it, target statistics."""
        phase, position = self.phase, self.position
        per_epoch = self.steps_per_epoch(phase)
        total = per_epoch * phase.epochs
        optimizer = phase.optimizer(total)
        if not position.started:
            position.started = True
            if position.phase > 0 or phase.adapt_statistics or phase.start:
                params, model = self.state.params, self.state.state
                if phase.adapt_statistics:
                    model = model._replace(statistics=self._adabn())
                if phase.start:
                    template = (params, model)
                    source = f"the start of phase '{phase.name}'"
                    with returns.naming(source, params=params, memory=model.memory):
                        begun = phase.start(params, model)
                    params, model = returns.check_start(begun, source)
                    preflight.check_alike(params, template[0], name='params', source=source)
                    preflight.check_alike(model, template[1], name='state', source=source)
                fresh = state.create(params, model, optimizer, step=int(self.state.step))
                self.progress.replace_state(fresh)
                self.progress.save()
        self.step = steps.train_step(
            phase,
            optimizer,
            self.system.preparation,
            start=position.phase_start,
            steps=total,
            parts=self.config.train.accumulate,
            batch_norm_groups=self.config.train.batch_norm_groups,
            mesh=self.system.evaluator.mesh,
        )
        schedule = getattr(phase.optimizer, 'schedule_over', None)
        self.rate = schedule(total) if schedule else None
        log.info('phase %s: %d epochs of %d steps', phase.name, phase.epochs, per_epoch)

    def end_phase(self) -> None:
        """Evaluates for the summary's row and moves to the next phase."""
        name = self.phase.report_as
        if name:
            params, model = self._selected()
            self._report(name, params, model, self.domain, kind=MODEL)
            on_target = self.data.test is not None and self.data.test.role == TARGET
            adabn = self.config.evaluation.adabn and self.method.statistics is not None
            if self.domain == SOURCE and adabn and on_target:
                params, model = self.state.params, self.state.state
                adapted = model._replace(statistics=self._adabn())
                self._report('adabn', params, adapted, TARGET, kind=ADABN)
        self.progress.next_phase()
        if self.finished:
            self.progress.save()

    def _selected(self) -> tuple[Any, Any]:
        """Returns the parameters and state that the phase's row is for.

        The last ones; in the last phase those of the best checkpoint, where the config says so.
        """
        last_phase = self.position.phase >= len(self.method.phases) - 1
        if self.config.evaluation.select == 'last' or not last_phase:
            return self.state.params, self.state.state
        best = self.progress.best()
        return best.params, best.state

    # -- one epoch -----------------------------------------------------------------------------

    def refresh_due(self) -> bool:
        """Returns whether pseudo labels are made anew before this epoch."""
        every, position = self.phase.refresh_every, self.position
        due = bool(every) and position.epoch % every == 0 and position.step == 0
        return due and not position.refreshed

    def refresh(self) -> None:
        """Makes pseudo labels from the features of the training splits; saves what took long."""
        begun, position = time.time(), self.position
        key = jax.random.fold_in(jax.random.fold_in(self.progress.root, 1), position.refreshes)
        last = position.epoch + self.phase.refresh_every >= self.phase.epochs
        context = RefreshContext(key, self.progress.labels, last, verbose=self.first_host)
        refreshed = refreshing.refreshed(
            self.system, self.state, self.feeds, position.refreshes, context
        )
        self.progress.labels = np.asarray(refreshed.labels, np.int32)
        self.progress.replace_state(
            dataclasses.replace(self.state, params=refreshed.params, state=refreshed.state)
        )
        position.report, position.useless = dict(refreshed.report), refreshed.useless
        # How well labels agree with the target's true ones is logged and read by nothing.
        first = feeds.first_column(self.progress.labels)
        truth, index = self.data.target.train, self.data.target_train.index
        quality = pseudo_label_quality(truth, index, first)
        self.progress.write('refresh', {**refreshed.report, **quality})
        self.progress.write_labels(self.data.target_train.index, refreshed.tables)
        message = ', '.join(f'{name} {value:g}' for name, value in refreshed.report.items())
        place = f'refresh {position.refreshes + 1} after epoch {position.epoch}'
        spent = time.time() - begun
        log.info('%s (%.1f s): %s', place, spent, message)
        position.refreshes += 1
        position.refreshed = True
        # All processes save or none, by the first one's clock.
        if sharding.from_first(bytes([spent >= _DEAR_REFRESH])) == b'\1':
            self.progress.save()

    def epoch(self) -> None:
        """Takes the steps of an epoch from the position on."""
        phase, position, total = self.phase, self.position, self.steps_per_epoch(self.phase)
        images = phase.images_per_step
        if position.useless and phase.refresh_every:
            position.skipped += self._images(phase)
            position.epoch, position.refreshed = position.epoch + 1, False
            return
        batches = feeds.epoch_batches(
            phase.streams,
            self.feeds,
            self.data.labels(self.progress.labels),
            self.system.evaluator.mesh,
            steps=total,
            begin=position.step,
            seed=(self.config.seed, position.phase, position.epoch),
        )
        pools = feeds.pools(phase.streams, self.feeds)
        first_step = int(self.state.step) - position.step
        pending: tuple[int, Any] | None = None
        self.epoch_log = telling.of_epoch(
            self.method.phases, position, self._images, self.progress.clock, active=self.first_host
        )
        with self.epoch_log:
            for i in range(total - position.step):
                begun = time.perf_counter()
                self.progress.state, values = self.step.run(
                    self.state, next(batches), self.progress.root, pools
                )
                # Scalars are read a step late, so that the device never waits for the host.
                if pending:
                    self._account(*pending)
                pending = (first_step + position.step + 1, values)
                position.step += 1
                self.progress.clock.step(time.perf_counter() - begun, images, compiles=i == 0)
                self.epoch_log.step(images)
                every = self.config.checkpoint.every_steps
                due = bool(every) and position.step % every == 0
                if (due or stopping.asked()) and position.step < total:
                    self._account(*pending)
                    pending = None
                    if due:
                        self.progress.save()
                    self.stop_if_asked()
            if pending:
                self._account(*pending)
        self.epoch_log.tell(list(phase.terms))
        position.epoch, position.step, position.refreshed = position.epoch + 1, 0, False

    def stop_if_asked(self) -> None:
        """Writes a checkpoint and ends the run where SIGTERM came.

        Raises:
          Stopped: it came.
        """
        if stopping.asked():
            self.progress.keep()
            step = int(self.state.step)
            raise stopping.Stopped(f'stopped by SIGTERM; the checkpoint of step {step} is written')

    def _account(self, number: int, values: Any) -> None:
        """Checks and logs the scalars of a step."""
        named = self.step.scalars(sharding.local(values))
        preflight.check_finite(named, number, self.phase, self.progress.checkpoints.numbers())
        self.progress.window.add(named)
        done = number - self.position.phase_start - 1
        rate = None if self.rate is None else float(self.rate(done))
        self.epoch_log.account(named, rate)
        if number % self.config.train.log_every == 0:
            means = self.progress.window.means()
            if rate is not None:
                means['learning_rate'] = rate
            timing = self.progress.clock.session()
            self.progress.write('train', means, step=number, timing=timing)

    def after_epoch(self) -> None:
        """Evaluates and saves, where due."""
        epoch, every = self.position.epoch, self.config.evaluation.every
        last = epoch == self.phase.epochs
        score = None
        test = self.data.test if self.method.retrieves else None
        if every and epoch % every == 0 and not last and test is not None:
            now = self.state
            measured = measuring.measure(self.system, test, now.params, now.state, self.domain)
            self.progress.write('evaluation', scalars(measured.row()))
        last_phase = self.position.phase == len(self.method.phases) - 1
        if self.config.evaluation.select == 'best' and last_phase:
            now = self.state
            score = measuring.source_score(self.system, self.data, now.params, now.state)
            self.progress.write('evaluation', {'source_mAP': 100 * score})
        if last or epoch % self.config.checkpoint.every_epochs == 0:
            self.progress.save(score=score)

    # -- evaluation ----------------------------------------------------------------------------

    def _adabn(self) -> Any:
        return measuring.adapted_statistics(
            self.system,
            self.data,
            self.state.params,
            self.state.state,
            batch=self.config.train.statistics_batch,
            seed=self.config.seed,
        )

    def _report(self, name: str, params: Any, model: Any, domain: str, *, kind: str) -> None:
        """Measures the model for a row of the summary."""
        last = self.position.phase == len(self.method.phases) - 1
        distances = finishing.report(
            self.data,
            self.system,
            self.progress,
            params,
            model,
            domain,
            name=name,
            kind=kind,
            rerank=self.config.evaluation.rerank and last and kind == MODEL,
        )
        self.distances = distances if kind == MODEL else None

    # -- the end -------------------------------------------------------------------------------

    def finish(self) -> dict[str, Any]:
        """Writes summary and figures, and prints the table."""
        params, model = self._selected()
        seen = sum(self._images(phase) * phase.epochs for phase in self.method.phases)
        return finishing.finish(
            self.config,
            self.data,
            self.system,
            self.progress,
            params,
            model,
            TARGET if _trains_on_target(self.method.phases) else SOURCE,
            images_seen=seen - self.position.skipped,
            distances=self.distances,
        )

    def _images(self, phase: Phase) -> int:
        """Returns the images in an epoch of a phase, each as often as it comes."""
        return self.steps_per_epoch(phase) * phase.images_per_step


def _trains_on_target(phases: Any) -> bool:
    return any(stream.domain == TARGET for phase in phases for stream in phase.streams.values())
