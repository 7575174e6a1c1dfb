"""Ends a phase and a run: measures rows, writes the summary, prints the table, draws figures."""

import functools
import logging
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jreid.engine import feeds
from jreid.evaluation.evaluator import scalars
from jreid.evaluation.kinds import MODEL
from jreid.evaluation.pseudo_labels import cluster_purity
from jreid.methods.common.people import group_people
from jreid.methods.contract import SOURCE, TARGET, Params, State
from jreid.retrieval import unit
from jreid.run import places, summary
from jreid.run.records import PURITY, write_features, write_labels, write_table
from jreid.run.system import System
from jreid.training import measuring
from jreid.training.data import Data
from jreid.training.progress import Progress

log = logging.getLogger('jreid')


def report(
    data: Data,
    system: System,
    progress: Progress,
    params: Params,
    state: State,
    domain: str,
    *,
    name: str,
    kind: str,
    rerank: bool,
) -> np.ndarray | None:
    """Measures a model for a row of the summary and logs it.

    Args:
      domain: whose batch-norm statistics the target is embedded with.
      name: of the row.
      kind: of the row, see `jreid.evaluation.kinds`; any but 'model' is logged under the name.
      rerank: re-rank as well, for a row of its own.

    Returns:
      The distances [q, g] of a system that compares pairs.
    """
    rows, distances = measuring.rows(
        system, data, params, state, domain, name=name, kind=kind, rerank=rerank
    )
    progress.position.rows |= rows
    row = rows.get(name, {})
    if 'mAP' in row:
        prefix = '' if kind == MODEL else f'{name}/'
        logged = {f'{prefix}{key}': value for key, value in scalars(row).items()}
        progress.write('evaluation', logged)
        assert data.test is not None
        where = data.test.splits.name
        log.info('%s on %s: mAP %.1f, rank-1 %.1f', name, where, row['mAP'], row['rank1'])
    return distances


def finish(
    config: ConfigDict,
    data: Data,
    system: System,
    progress: Progress,
    params: Params,
    state: State,
    domain: str,
    *,
    images_seen: int,
    distances: np.ndarray | None,
) -> dict[str, Any]:
    """Writes the summary, prints the table and draws the figures; returns the summary.

    Processes other than the first help with the features, write nothing and return nothing.

    Args:
      domain: whose batch-norm statistics target images are embedded with.
      images_seen: training images of all steps, each as often as it came.
      distances: of a system that compares pairs, where they are at hand.
    """
    features = functools.partial(
        _features, config, data, system, params, state, domain, distances=distances
    )
    # With labels the table comes first: features for figures can take as long as an evaluation.
    labelled = data.test is not None and data.test.role == TARGET
    drawn = {} if labelled else features()
    if jax.process_index() != 0:
        if labelled:
            features()
        return {}
    progress.note_time()
    rows, true = progress.position.rows, data.target.train.identities or None
    report, pseudo = progress.position.report, feeds.first_column(progress.labels)
    source = places.NO_SOURCE if data.source is None else data.source.name
    test = data.test
    if TARGET in drawn:
        # The target's labels cannot say how good its people are: they are kept to be looked at.
        pseudo, report = _write_people(data, system, progress, drawn[TARGET], pseudo)
    if clusters := cluster_purity(data.target.train, data.target_train.index, pseudo):
        write_table(progress.workdir / 'labels' / PURITY, clusters)
    result = summary.write(
        progress.workdir,
        rows,
        variant=config.variant,
        roots=places.roots(config.data),
        source=source,
        target=data.target.name,
        average_precision=config.evaluation.average_precision,
        seed=config.seed,
        report=report,
        identities_true=true,
        evaluated_on=test.role if test else '',
        has_cameras=(test.splits if test else data.target).has_cameras,
        steps=int(progress.state.step),
        images_seen=images_seen,
        timing=progress.clock.totals(),
    )
    if labelled:
        drawn = features()
    if config.figures.enabled and drawn:
        summary.draw(
            progress.workdir,
            rows,
            title=f'{places.heading(source, data.target.name, " to ")}, {config.variant}',
            query=(test.query.index, drawn['query']) if test else None,
            gallery=(test.gallery.index, drawn['gallery']) if test else None,
            has_cameras=(test.splits if test else data.target).has_cameras,
            domains=(drawn.get(SOURCE), drawn[TARGET]),
            labels=(data.source_train.index.identity if data.source_train else None, pseudo),
            queries=config.figures.queries,
            tsne_images=config.figures.tsne_images,
            seed=config.seed,
            source_identities=system.problem.source_identities,
            identities_true=true,
            average_precision=config.evaluation.average_precision,
            distances=drawn.get('distances'),
            normalise=system.method.normalise,
        )
    progress.metrics.finish(int(progress.state.step), progress.workdir / 'figures')
    return result


def _features(
    config: ConfigDict,
    data: Data,
    system: System,
    params: Params,
    state: State,
    domain: str,
    *,
    distances: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Returns the features that the end of a run needs, by split.

    Without figures, only the features of an unlabelled target's training images are returned, since
    they are written to the run's folder.

    Args:
      domain: whose batch-norm statistics target images are embedded with.
      distances: of a system that compares pairs, where they are at hand.
    """
    if not system.method.retrieves:
        return {}
    if config.figures.enabled:
        return measuring.figure_features(system, data, params, state, domain, distances=distances)
    if data.test is not None and data.test.role == TARGET:
        return {}
    own = system.evaluator.features(
        params, state, domain, data.target_train, description='target features'
    )
    return {TARGET: own}


def _write_people(
    data: Data, system: System, progress: Progress, embedded: np.ndarray, pseudo: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Writes the features of an unlabelled target, and its people.

    The people are the clusters of the last refresh. For a system without pseudo labels (TJ-AIDL's
    refresh makes soft attributes), the images are grouped here as `jreid label --identities` does.

    Returns:
      Labels [N], and the run's report with the number of identities added.
    """
    index, report = data.target_train.index, dict(progress.position.report)
    compared = unit(embedded) if system.method.normalise else embedded
    if 'identities_estimated' not in report and not (pseudo >= 0).any():
        cameras = index.camera if data.target.has_cameras else None
        pseudo = group_people(compared, cameras)
        report['identities_estimated'] = float(len(np.unique(pseudo[pseudo >= 0])))
        bases = [places.roots(progress.config.data)[TARGET]]
        images = places.shorten(index.path.tolist(), bases)
        write_labels(progress.workdir / 'labels' / 'target_people.csv', images, pseudo)
    write_features(progress.workdir, index, compared, pseudo)
    return pseudo, report
