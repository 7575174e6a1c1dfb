"""Ends a run: writes the summary, draws the figures, prints the table."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jreid.engine import feeds
from jreid.methods.contract import SOURCE, TARGET
from jreid.run import summary
from jreid.run.system import System
from jreid.training.data import Data
from jreid.training.progress import Progress


def finish(
    config: ConfigDict,
    data: Data,
    system: System,
    progress: Progress,
    *,
    images_seen: int,
    drawn: dict[str, np.ndarray] | None,
) -> dict[str, Any]:
    """Writes the summary, draws the figures and prints the table; returns the summary.

    Args:
      images_seen: training images of all steps, each as often as it came.
      drawn: see `jreid.training.measuring.figure_features`; None for no figures.
    """
    rows, true = progress.position.rows, data.target.train.identities or None
    result = summary.write(
        progress.workdir,
        rows,
        variant=config.variant,
        source=data.source.name,
        target=data.target.name,
        average_precision=config.evaluation.average_precision,
        seed=config.seed,
        report=progress.position.report,
        identities_true=true,
        has_cameras=data.target.has_cameras,
        steps=int(progress.state.step),
        images_seen=images_seen,
        timing=progress.clock.totals(),
    )
    if drawn is not None:
        pseudo = feeds.first_column(progress.labels)
        summary.draw(
            progress.workdir,
            rows,
            title=f'{data.source.name} to {data.target.name}, {config.variant}',
            query=(data.target_query.index, drawn['query']),
            gallery=(data.target_gallery.index, drawn['gallery']),
            has_cameras=data.target.has_cameras,
            domains=(drawn[SOURCE], drawn[TARGET]),
            labels=(data.source_train.index.identity, pseudo),
            queries=config.figures.queries,
            tsne_images=config.figures.tsne_images,
            seed=config.seed,
            source_identities=data.source.train.identities,
            identities_true=true,
            average_precision=config.evaluation.average_precision,
            distances=drawn.get('distances'),
            rule=config.method.get('niec_rule', 'mean'),
            normalise=system.method.normalise,
        )
    return result
