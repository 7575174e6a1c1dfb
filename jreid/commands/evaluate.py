"""`jreid evaluate RUN`: a finished run's model measured again, on its target or on another set."""

import argparse
import json
import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from jreid.commands import console
from jreid.commands.edits import edited
from jreid.engine import sharding
from jreid.evaluation import predictions
from jreid.evaluation.evaluator import Ranker, as_row
from jreid.files import write_text
from jreid.methods.contract import SOURCE, TARGET
from jreid.run import rankings as retrieved
from jreid.run import summary
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import Model, load_model
from jreid.training.data import open_test

log = logging.getLogger('jreid')


def ranker_of(model: Model) -> Ranker:
    """How the trainer compares the images of the model's system."""
    return Ranker(
        model.method,
        model.preparation,
        model.config.evaluation,
        sharding.make_mesh(),
        model.config.seed,
    )


def evaluate_run(
    workdir: str | pathlib.Path,
    *,
    checkpoint: str = 'auto',
    role: str = TARGET,
    edits: Sequence[str] = (),
    rerank: bool = False,
) -> dict[str, Any]:
    """Rows as in `summary.json`: `evaluated`, and `evaluated_reranked` where asked for; with
    `target` and `average_precision`.

    Attributes and part masks that the system predicts are measured wherever the test split is
    labelled with them; of a teacher nothing else is.

    Args:
      workdir, checkpoint: see `jreid.load_run`.
      role: 'target', or 'source' for the source's own test split.
      edits: `--config.field=value` on top of the run's config, e.g. another target, which then
        begins without the old one's options.
      rerank: also after k-reciprocal re-ranking.

    Raises:
      ValueError: the run is a teacher and nothing that it predicts can be measured here, or an edit
        is wrong.
    """
    model = load_model(workdir, checkpoint=checkpoint, edit=lambda config: _edited(config, edits))
    splits, query, gallery = open_test(model.config.data, role)
    ranker = ranker_of(model)
    parts = (model.method, model.preparation, model.problem, lambda: {role: (query, gallery)})
    rows = {
        'evaluated': predictions.rows(
            *parts,
            model.variables,
            model.domain,
            batch=model.config.evaluation.batch,
            mesh=ranker.mesh,
        )
    }
    if not model.method.retrieves:
        if not rows['evaluated']:
            raise ValueError(
                f"'{model.method.name}' is a teacher, and the test split of {splits.name} is not"
                ' labelled with what it predicts'
            )
        return {'source': model.config.data.source, 'target': splits.name, **rows}
    found = ranker.measure(
        model.variables, model.domain, query, gallery, has_cameras=splits.has_cameras, rerank=rerank
    )
    rows['evaluated'] = {**found.row(), **rows['evaluated']}
    if found.reranked is not None:
        rows['evaluated_reranked'] = as_row(found.reranked)
    return {
        'source': model.config.data.source,
        'target': splits.name,
        'average_precision': model.config.evaluation.average_precision,
        **rows,
    }


def _edited(config: ConfigDict, edits: Sequence[str]) -> ConfigDict:
    """The config with the edits; a set in the place of another does not get the other's options."""
    changed = edited(config.copy_and_resolve_references(), edits)
    for role in (SOURCE, TARGET):
        if changed.data[role] != config.data[role]:
            config.data[f'{role}_options'] = ConfigDict()
    return edited(config, edits)


def ranking_of_run(workdir: str | pathlib.Path) -> retrieved.Ranking | None:
    """The ranked results of a finished run on its target; None for a teacher."""
    model = load_model(workdir)
    if not model.method.retrieves:
        return None
    splits, query, gallery = open_test(model.config.data, TARGET)
    ranker = ranker_of(model)
    options: dict[str, Any] = {
        'has_cameras': splits.has_cameras,
        'normalise': model.method.normalise,
    }
    if model.method.score is not None:
        distances = ranker.pair_distances(model.variables, model.domain, query, gallery)
        return retrieved.rank(
            query.index,
            gallery.index,
            None,
            distances=distances,
            average_precision=model.config.evaluation.average_precision,
            **options,
        )
    first = ranker.features(model.variables, model.domain, query, description='query features')
    second = ranker.features(model.variables, model.domain, gallery, description='gallery features')
    return retrieved.rank(
        query.index,
        gallery.index,
        (first, second),
        average_precision=model.config.evaluation.average_precision,
        **options,
        progress=True,
    )


def main(
    arguments: Sequence[str] | None = None, *, prog: str = 'python -m jreid.commands.evaluate'
) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="A finished run's model measured again, on its target or on another set.",
        epilog=(
            'further arguments --config.field=value change the config of the run, e.g.'
            ' --config.data.target=folder --config.data.target_root=DIR'
        ),
        allow_abbrev=False,
    )
    parser.add_argument('run', help="the run's folder")
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    parser.add_argument(
        '--on',
        default='target',
        choices=('target', 'source'),
        help='whose test split (default: target)',
    )
    parser.add_argument('--rerank', action='store_true', help='also after k-reciprocal re-ranking')
    parser.add_argument('--json', type=pathlib.Path, help='file to write the numbers to')
    given, edits = parser.parse_known_args(arguments)
    console.talk()
    try:
        found = evaluate_run(
            given.run, checkpoint=given.checkpoint, role=given.on, edits=edits, rerank=given.rerank
        )
    except (FileNotFoundError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    rows = {name: row for name, row in found.items() if isinstance(row, dict)}
    print(
        summary.table(
            rows,
            source=found['source'],
            target=found['target'],
            average_precision=found.get('average_precision', ''),
        )
    )
    for told in summary.details(rows):
        print(told)
    if given.json:
        write_text(given.json, json.dumps(found, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
