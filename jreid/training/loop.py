"""The one training loop: data, state, restore, phases, refresh of pseudo labels, evaluation,
saving, summary.

No system has a trainer of its own; what differs between them is in the `Method` record
(`jreid.methods.contract`). A run is a function of its config alone: a step depends on the seed and
its number, an epoch's plan on the seed and the epoch, a refresh on the seed and its number. So a
run that is killed at any moment and started again ends as one that ran through.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid import methods
from jreid.engine import sharding, state, steps
from jreid.engine.feeds import epoch_steps, first_labels, part, plan, sampled_by
from jreid.evaluation import predictions
from jreid.evaluation.evaluator import Measured, Ranker, as_row, scalars
from jreid.evaluation.features import adapt_statistics, extract
from jreid.evaluation.pseudo_labels import pseudo_label_quality
from jreid.methods.common import optimizers as optim
from jreid.methods.contract import SOURCE, TARGET, Method, Phase
from jreid.models.backbones import build
from jreid.run import summary
from jreid.run.checkpoints import Checkpoints
from jreid.run.clock import Clock
from jreid.run.config import check, keep_config
from jreid.run.lock import alone
from jreid.run.position import Position
from jreid.run.records import Metrics, Window, progress_bar, write_labels, write_table
from jreid.training import initialisation as start
from jreid.training import preflight
from jreid.training.data import open_data

log = logging.getLogger('jreid')


def train(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    edit: Callable[[Method], Method] = lambda method: method,
) -> dict[str, Any]:
    """Run, or go on with, the training that `config` describes; returns what `summary.json` holds.

    Args:
      config: see `configs/base.py`.
      workdir: the run's folder: config, metrics, labels, checkpoints, figures, summary.
      edit: a change of the method that the config names, e.g. one more term in an objective; the
        same when the run is started again.

    Raises:
      ValueError: the config cannot be run, or the folder holds a run of another config.
      FloatingPointError: a loss term is not finite; names the step and the term.
      RuntimeError: another process trains in the folder.
    """
    workdir = pathlib.Path(workdir)
    with (
        alone(workdir, active=jax.process_index() == 0),
        contextlib.closing(Run(config, workdir, edit)) as run,
    ):
        for number in range(run.position.phase, len(run.method.phases)):
            run.begin_phase(number)
            while run.position.epoch < run.phase.epochs:
                if run.refresh_due():
                    run.refresh()
                run.epoch()
                run.after_epoch()
            run.end_phase()
        return run.finish()


class Run:
    """The state of the loop above; its methods are the loop's steps in their order."""

    def __init__(
        self,
        config: ConfigDict,
        workdir: pathlib.Path,
        edit: Callable[[Method], Method] = lambda method: method,
    ):
        self.config, self.workdir = config, workdir
        check(config)
        self.first_host = jax.process_index() == 0
        self.clock = Clock(workdir)
        if self.first_host:
            keep_config(config, workdir)
        # Data.
        size = (config.data.height, config.data.width)
        self.mesh = sharding.make_mesh()
        self.data = open_data(config.data, select_on_source=config.evaluation.select == 'best')
        self.feeds = {SOURCE: self.data.source_train, TARGET: self.data.target_train}
        given = 'given_identities' in config.method and config.method.given_identities
        self.problem = self.data.problem(size, given_identities=given)
        # Model.
        module, record = build(
            config.model.backbone,
            config.model.options,
            compute_dtype=config.train.compute_dtype,
            remat=config.train.remat,
        )
        self.preparation = steps.preparation(record, config.augment)
        self.method: Method = edit(methods.build(config.method, module, self.problem))
        self.ranker = Ranker(
            self.method, self.preparation, config.evaluation, self.mesh, config.seed
        )
        preflight.check_phases(
            self.method, self.feeds, parts=config.train.accumulate, devices=self.mesh.size
        )
        self.root = jax.random.key(config.seed)
        params, model_state, extra = self.method.init(jax.random.fold_in(self.root, 0))
        # Restore: the latest readable checkpoint, else another run's parameters or weights from a
        # file, else the fresh parameters.
        self.checkpoints = Checkpoints(
            workdir / 'checkpoints',
            keep=config.checkpoint.keep,
            scored=config.evaluation.select == 'best',
        )
        self.position = Position()
        self.distances: np.ndarray | None = None
        self.labels = first_labels(self.data.target_train.index, self.method.label_columns)
        self.state: state.TrainState
        restored = self.checkpoints.restore(
            lambda meta: self._template(meta, params, model_state, extra)
        )
        if restored:
            self.position = Position(**restored.meta['position'])
            self.state, self.labels = restored.tree['state'], np.asarray(restored.tree['labels'])
            self.state = sharding.replicate(self.mesh, self.state)
            log.info(
                'going on from checkpoint %d: phase %s, epoch %d',
                restored.number,
                self._phase_name(),
                self.position.epoch,
            )
        else:
            params, model_state = start.parameters(config, self.method, params, model_state)
            optimizer = self._optimizer(0)
            self.state = sharding.replicate(
                self.mesh, state.create(params, model_state, extra, optimizer)
            )
        self.metrics = Metrics(
            workdir,
            step=int(self.state.step),
            position=self.position.metrics,
            active=self.first_host,
        )
        self.window = Window(self.position.window)

    # -- phases
    # ---------------------------------------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        return self.method.phases[self.position.phase]

    def _phase_name(self) -> str:
        return self.phase.name if self.position.phase < len(self.method.phases) else 'finished'

    def _epoch_steps(self, phase: Phase) -> int:
        first = next(iter(phase.streams.values()))
        return phase.steps or epoch_steps(first, len(self.feeds[first.domain].index))

    def _optimizer(self, number: int):
        phase = self.method.phases[number]
        return optim.make(
            phase.optimizer, phase.epochs * self._epoch_steps(phase), self.method.group
        )

    def _template(self, meta: dict[str, Any], params: Any, model_state: Any, extra: Any) -> Any:
        number = min(meta['position']['phase'], len(self.method.phases) - 1)
        return {
            'state': jax.eval_shape(
                lambda: state.create(params, model_state, extra, self._optimizer(number))
            ),
            'labels': self.labels,
        }

    def begin_phase(self, number: int) -> None:
        """Optimizer, step function and, where the phase asks for it, target statistics."""
        optimizer = self._optimizer(number)
        if not self.position.started:
            self.position.started = True
            if number > 0 or self.phase.restart_statistics or self.phase.start:
                old = (
                    dataclasses.replace(self.state, model_state=self._adapted_statistics())
                    if self.phase.restart_statistics
                    else self.state
                )
                params = self.phase.start(old.params) if self.phase.start else old.params
                new = state.create(
                    params, old.model_state, old.extra, optimizer, step=int(old.step)
                )
                self.state = sharding.replicate(self.mesh, new)
                self.save()
        steps_per_epoch = self._epoch_steps(self.phase)
        total = steps_per_epoch * self.phase.epochs
        parts = {'parts': self.config.train.accumulate, 'mesh': self.mesh}
        self.step = steps.train_step(
            self.phase,
            optimizer,
            self.preparation,
            start=self.position.phase_start,
            steps=total,
            **parts,
        )
        self.rate = optim.learning_rate(self.phase.optimizer, total)
        log.info(
            'phase %s: %d epochs of %d steps', self.phase.name, self.phase.epochs, steps_per_epoch
        )

    def end_phase(self) -> None:
        """Evaluate for the summary's row and move to the next phase."""
        if self.phase.row:
            domain = self._domain()
            self._row(self.phase.row, self._selected(), domain)
            if (
                domain == SOURCE
                and self.config.evaluation.adabn
                and self.method.statistics is not None
            ):
                self._row(
                    'adabn',
                    {**self.state.variables, 'model_state': self._adapted_statistics()},
                    TARGET,
                )
        self.position = dataclasses.replace(
            self.position,
            phase=self.position.phase + 1,
            epoch=0,
            step=0,
            started=False,
            refreshed=False,
            phase_start=int(self.state.step),
        )
        if self.position.phase == len(self.method.phases):
            self.save()

    def _selected(self) -> Any:
        """The variables that the phase's row is for: the last, or in the last phase those of the
        best checkpoint where the config selects it.
        """
        if (
            self.config.evaluation.select == 'last'
            or self.position.phase < len(self.method.phases) - 1
        ):
            return self.state.variables
        now = sharding.local(self.state)
        found = self.checkpoints.restore(
            lambda meta: self._template(meta, now.params, now.model_state, now.extra),
            number=self.checkpoints.best(),
        )
        assert found is not None
        return sharding.replicate(self.mesh, found.tree['state'].variables)

    def _domain(self) -> str:
        """Whose batch-norm statistics the target's test images are embedded with: the target's
        as soon as a phase trains on it.
        """
        return (
            TARGET
            if any(stream.domain == TARGET for stream in self.phase.streams.values())
            else SOURCE
        )

    # -- one epoch
    # ------------------------------------------------------------------------------------------------------------------------------

    def refresh_due(self) -> bool:
        """Whether pseudo labels are made anew before this epoch."""
        every = self.phase.refresh_every
        return (
            bool(every)
            and self.position.epoch % every == 0
            and self.position.step == 0
            and not self.position.refreshed
        )

    def refresh(self) -> None:
        """Features of both training splits -> pseudo labels, heads and centroids; saved at once,
        since it can take long.
        """
        begun = time.time()
        described = {}
        for domain in self.method.refresh_reads:
            feed = self.feeds[domain]
            step = steps.describe_step(self.method, self.preparation, domain)
            options = {'batch': self.config.evaluation.batch, 'mesh': self.mesh}
            found = extract(
                step, self.state.variables, feed, **options, description=f'features of {domain}'
            )
            described[domain] = {**found, 'camera': feed.index.camera}
        key = jax.random.fold_in(jax.random.fold_in(self.root, 1), self.position.refreshes)
        last = self.position.epoch + self.phase.refresh_every >= self.phase.epochs
        local = sharding.local({'params': self.state.params, 'extra': self.state.extra})
        assert self.method.refresh is not None
        domains = (described.get(SOURCE), described.get(TARGET))
        identity = self.data.source_train.index.identity
        found = self.method.refresh(
            key, local['params'], local['extra'], *domains, identity, last, progress=self.first_host
        )
        self.labels = found.labels
        new = sharding.replicate(self.mesh, {'params': found.params, 'extra': found.extra})
        self.state = dataclasses.replace(self.state, params=new['params'], extra=new['extra'])
        self.position.report = dict(found.report)
        self.metrics.write(
            int(self.state.step),
            'refresh',
            self.phase.name,
            {**found.report, **self._pseudo_label_quality()},
        )
        if self.first_host:
            number = self.position.refreshes
            write_labels(
                self.workdir / 'labels' / f'target_{number:03d}.csv',
                self.data.target_train.index.path.tolist(),
                self.labels,
            )
            for name, table in found.tables.items():
                write_table(self.workdir / 'labels' / f'{name}_{number:03d}.csv', table)
        said = ', '.join(f'{name} {value:g}' for name, value in found.report.items())
        log.info(
            'refresh %d after epoch %d (%.1f s): %s',
            self.position.refreshes + 1,
            self.position.epoch,
            time.time() - begun,
            said,
        )
        self.position = dataclasses.replace(
            self.position, refreshes=self.position.refreshes + 1, refreshed=True
        )
        self.save()

    def _pseudo_label_quality(self) -> dict[str, float]:
        """How well pseudo labels agree with the target's true ones: logged as evaluation, read
        by nothing.
        """
        return pseudo_label_quality(
            self.data.target.train, self.data.target_train.index, sampled_by(self.labels)
        )

    def epoch(self) -> None:
        """The steps of an epoch from the position on."""
        phase, total = self.phase, self._epoch_steps(self.phase)
        plans, iterators = {}, {}
        for i, (name, stream) in enumerate(phase.streams.items()):
            feed = self.feeds[stream.domain]
            labels = self.labels if stream.domain == TARGET else feed.index.identity
            seed = 64 * self.config.seed + 8 * self.position.phase + i
            rows = plan(
                stream, feed.index, labels, steps=total, seed=seed, epoch=self.position.epoch
            )
            plans[name] = rows[
                self.position.step :, sharding.local_columns(self.mesh, stream.batch)
            ]
            iterators[name] = feed.for_steps(plans[name])
        images_per_step = phase.images_per_step
        bar = progress_bar(
            total * images_per_step,
            f'{phase.name} {self.position.epoch + 1}/{phase.epochs}',
            active=self.first_host,
            initial=self.position.step * images_per_step,
        )
        pools = {
            name: self.feeds[stream.domain].pool
            for name, stream in phase.streams.items()
            if self.feeds[stream.domain].pool is not None
        }
        pending: tuple[int, Any] | None = None
        with bar:
            for i in range(total - self.position.step):
                begun, batch = time.perf_counter(), {}
                for name, stream in phase.streams.items():
                    feed = self.feeds[stream.domain]
                    labels = self.labels if stream.domain == TARGET else feed.index.identity
                    batch[name] = part(stream, feed, labels, plans[name][i], next(iterators[name]))
                self.state, metrics = self.step(
                    self.state, sharding.spread(self.mesh, batch), self.root, pools
                )
                # Metrics are read a step late, so that the device never waits for the host.
                if pending:
                    self._account(*pending)
                pending = (
                    self.position.phase_start
                    + self.position.epoch * total
                    + self.position.step
                    + 1,
                    metrics,
                )
                self.position.step += 1
                self.clock.step(time.perf_counter() - begun, images_per_step, compiles=i == 0)
                bar.update(images_per_step)
                every = self.config.checkpoint.every_steps
                if every and self.position.step % every == 0 and self.position.step < total:
                    self._account(*pending)
                    pending = None
                    self.save()
            if pending:
                self._account(*pending)
        self.position = dataclasses.replace(
            self.position, epoch=self.position.epoch + 1, step=0, refreshed=False
        )

    def _account(self, number: int, metrics: Any) -> None:
        values = {name: float(sharding.local(value)) for name, value in metrics.items()}
        wrong = [name for name, value in values.items() if not np.isfinite(value)]
        if wrong:
            kept = self.checkpoints.numbers()
            raise FloatingPointError(
                f'step {number} (phase {self.phase.name}): {", ".join(wrong)} not finite; the last'
                ' checkpoint is '
                f'{f"of step {kept[-1] // 10}" if kept else "none"}. In a new --workdir, lower the'
                " learning rate or the term's weight."
            )
        self.window.add(values)
        if number % self.config.train.log_every == 0:
            values = self.window.means()
            values['learning_rate'] = float(self.rate(number - self.position.phase_start - 1))
            self.metrics.write(
                number, 'train', self.phase.name, values, timing=self.clock.session()
            )

    def after_epoch(self) -> None:
        """Evaluation and checkpoint, where due."""
        epoch, every = self.position.epoch, self.config.evaluation.every
        last = epoch == self.phase.epochs
        score = None
        if every and epoch % every == 0 and not last and self.method.retrieves:
            row = self._evaluate(self.state.variables, self._domain()).row()
            self.metrics.write(int(self.state.step), 'evaluation', self.phase.name, scalars(row))
        if (
            self.config.evaluation.select == 'best'
            and self.position.phase == len(self.method.phases) - 1
        ):
            score = self._source_score()
        if last or epoch % self.config.checkpoint.every_epochs == 0:
            self.save(score=score)

    # -- evaluation and saving
    # ------------------------------------------------------------------------------------------------------------------

    def _adapted_statistics(self) -> Any:
        step = steps.statistics_step(self.method, self.preparation)
        batch, seed = self.config.train.statistics_batch, self.config.seed
        return adapt_statistics(
            step,
            self.state.variables,
            self.data.target_train,
            batch=batch,
            mesh=self.mesh,
            seed=seed,
        )

    def _evaluate(self, variables: Any, domain: str, *, rerank: bool = False) -> Measured:
        """The model's numbers on the target's test split."""
        data = self.data
        return self.ranker.measure(
            variables,
            domain,
            data.target_query,
            data.target_gallery,
            has_cameras=data.target.has_cameras,
            rerank=rerank,
        )

    def _row(self, name: str, variables: Any, domain: str) -> None:
        """Evaluate for a row of the summary."""
        last = self.position.phase == len(self.method.phases) - 1
        parts = (self.method, self.preparation, self.problem, lambda: self.data.test_splits(domain))
        said = predictions.rows(
            *parts, variables, domain, batch=self.config.evaluation.batch, mesh=self.mesh
        )
        if not self.method.retrieves:
            self.position.rows[name] = said
            return
        found = self._evaluate(
            variables, domain, rerank=self.config.evaluation.rerank and last and name != 'adabn'
        )
        row = self.position.rows[name] = {**found.row(), **said}
        self.distances = found.distances if name == self.phase.row else None
        if found.reranked is not None:
            self.position.rows[f'{name}_reranked'] = as_row(found.reranked)
        prefix = '' if name == self.phase.row else f'{name}/'
        self.metrics.write(
            int(self.state.step),
            'evaluation',
            self.phase.name,
            {f'{prefix}{key}': value for key, value in scalars(row).items()},
        )
        log.info(
            '%s on %s: mAP %.1f, rank-1 %.1f', name, self.data.target.name, row['mAP'], row['rank1']
        )

    def _source_score(self) -> float:
        """mAP on the source's own test split: what the best checkpoint is chosen by."""
        query, gallery = self.data.source_query, self.data.source_gallery
        assert query is not None
        assert gallery is not None
        metrics = self.ranker.measure(
            self.state.variables, SOURCE, query, gallery, has_cameras=self.data.source.has_cameras
        ).metrics
        self.metrics.write(
            int(self.state.step),
            'evaluation',
            self.phase.name,
            {'source_mAP': 100 * float(metrics.mAP)},
        )
        return float(metrics.mAP)

    def save(self, *, score: float | None = None) -> None:
        """A checkpoint of the position. Its number is ten times the step, plus one for each
        event since the step before.
        """
        numbers = self.checkpoints.numbers()
        number = max(10 * int(self.state.step), (numbers[-1] + 1) if numbers else 0)
        self.position.metrics, self.position.window = self.metrics.position, self.window.sums
        meta = {
            'position': dataclasses.asdict(self.position),
            'problem': dataclasses.asdict(self.problem),
            'seed': self.config.seed,
            'config': json.loads(self.config.to_json_best_effort()),
        }
        self.checkpoints.save(
            number, {'state': self.state, 'labels': self.labels}, meta, score=score
        )
        self.metrics.time(int(self.state.step), self._phase_name(), self.clock)

    def finish(self) -> dict[str, Any]:
        """Summary, figures, and the printout."""
        config, data, variables = self.config, self.data, self._selected()
        drawn: dict[str, np.ndarray] = {}
        if config.figures.enabled and self.method.retrieves:
            domain = (
                TARGET
                if any(
                    stream.domain == TARGET
                    for phase in self.method.phases
                    for stream in phase.streams.values()
                )
                else SOURCE
            )
            feeds = {
                'query': data.target_query,
                'gallery': data.target_gallery,
                SOURCE: data.source_train,
                TARGET: data.target_train,
            }
            for name, feed in feeds.items():
                own = SOURCE if name == SOURCE else domain
                drawn[name] = self.ranker.features(
                    variables, own, feed, description='features for figures'
                )
            if self.method.score is not None:
                # Pairs are dear, and those of the last row are at hand unless the run was resumed
                # after it.
                if self.distances is None:
                    self.distances = self.ranker.pair_distances(
                        variables, domain, data.target_query, data.target_gallery
                    )
                drawn['distances'] = self.distances
        if not self.first_host:
            return {}
        self.metrics.time(int(self.state.step), self._phase_name(), self.clock)
        result = summary.write(
            self.workdir,
            self.position.rows,
            variant=config.variant,
            source=data.source.name,
            target=data.target.name,
            average_precision=config.evaluation.average_precision,
            seed=config.seed,
            report=self.position.report,
            identities_true=data.target.train.identities or None,
            has_cameras=data.target.has_cameras,
            steps=int(self.state.step),
            images_seen=sum(
                phase.epochs * self._epoch_steps(phase) * phase.images_per_step
                for phase in self.method.phases
            ),
            timing=self.clock.totals(),
        )
        if drawn:
            summary.draw(
                self.workdir,
                self.position.rows,
                title=f'{data.source.name} to {data.target.name}, {config.variant}',
                query=(data.target_query.index, drawn['query']),
                gallery=(data.target_gallery.index, drawn['gallery']),
                has_cameras=data.target.has_cameras,
                domains=(drawn[SOURCE], drawn[TARGET]),
                labels=(data.source_train.index.identity, sampled_by(self.labels)),
                queries=config.figures.queries,
                tsne_images=config.figures.tsne_images,
                seed=config.seed,
                source_identities=data.source.train.identities,
                identities_true=data.target.train.identities or None,
                average_precision=config.evaluation.average_precision,
                distances=drawn.get('distances'),
                rule=config.method.niec_rule if 'niec_rule' in config.method else 'mean',
                normalise=self.method.normalise,
            )
        return result

    def close(self) -> None:
        """Close the run's files."""
        self.metrics.close()
        self.checkpoints.close()
