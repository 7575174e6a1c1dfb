"""`jreid evaluate RUN`: evaluates a run's model again, on its target or on another set.

`jreid evaluate GALLERY QUERY` evaluates features in two files.
"""

import argparse
import json
import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from jreid.commands import console, evaluate_features
from jreid.commands.fields import set_fields
from jreid.evaluation import predictions
from jreid.files import check_target, write_text
from jreid.methods.contract import SOURCE, TARGET
from jreid.run import rankings, summary
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import load_model
from jreid.training.data import open_measured, open_test

log = logging.getLogger('jreid')


def evaluate_run(
    workdir: str | pathlib.Path,
    *,
    checkpoint: str = 'auto',
    role: str = TARGET,
    fields: Sequence[str] = (),
    rerank: bool = False,
) -> dict[str, Any]:
    """Evaluates a run's model and returns rows as in `summary.json`.

    Attributes and part masks that the system predicts are scored wherever the test split is
    labelled with them. A teacher has no other scores.

    Args:
      workdir, checkpoint: see `jreid.load_run`.
      role: 'target', or 'source' for the source's own test split.
      fields: `--config.field=value` on top of the run's config. Another target begins without the
        options of the run's own.
      rerank: evaluate again after k-reciprocal re-ranking.

    Returns:
      The row `evaluated`, the row `evaluated_reranked` with `rerank`, `source`, `target` and
      `average_precision`.

    Raises:
      ValueError: the run is a teacher whose predictions the test split has no labels of, or a field
        is wrong.
    """
    model = load_model(
        workdir, checkpoint=checkpoint, edit=lambda config: _with_fields(config, fields)
    )
    splits, query, gallery = open_test(model.config.data, role)
    evaluator = model.system.evaluator
    # As in training, where the source's test split chooses the best checkpoint.
    domain = SOURCE if role == SOURCE else model.domain
    trained = (model.params, model.state, domain)
    scores = predictions.rows(
        model.system.functions,
        model.problem.attribute_names,
        lambda: {role: (query, gallery)},
        *trained,
        batch=evaluator.batch,
        mesh=evaluator.mesh,
    )
    if not model.method.retrieves:
        if not scores:
            raise ValueError(
                f"'{model.method.name}' is a teacher, and the test split of {splits.name} is not"
                ' labelled with what it predicts'
            )
        return {
            'source': model.config.data.source,
            'target': splits.name,
            'evaluated': scores,
        }
    measured = evaluator.measure(
        *trained, query, gallery, has_cameras=splits.has_cameras, rerank=rerank, verify=True
    )
    rows = measured.rows('evaluated')
    rows['evaluated'] |= scores
    return {
        'source': model.config.data.source,
        'target': splits.name,
        'average_precision': model.config.evaluation.average_precision,
        **rows,
    }


def ranking_of_run(workdir: str | pathlib.Path) -> rankings.Ranking | None:
    """Ranks the gallery that a finished run was measured on with its model.

    Returns None for a teacher, and where neither set has a gallery.
    """
    model = load_model(workdir)
    if not model.method.retrieves:
        return None
    test = open_measured(model.config.data)
    if test is None:
        return None
    splits, query, gallery = test.splits, test.query, test.gallery
    evaluator = model.system.evaluator
    trained = (model.params, model.state, test.statistics(model.domain))
    keywords: dict[str, Any] = {
        'has_cameras': splits.has_cameras,
        'normalise': model.method.normalise,
    }
    if model.method.score is not None:
        distances = evaluator.pair_distances(*trained, query, gallery)
        return rankings.rank(
            query.index,
            gallery.index,
            None,
            distances=distances,
            average_precision=model.config.evaluation.average_precision,
            **keywords,
        )
    first = evaluator.features(*trained, query, description='query features')
    second = evaluator.features(*trained, gallery, description='gallery features')
    return rankings.rank(
        query.index,
        gallery.index,
        (first, second),
        average_precision=model.config.evaluation.average_precision,
        **keywords,
        progress=True,
    )


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid evaluate') -> int:
    """Runs the command and returns the exit status."""
    arguments, fields = _parser(prog).parse_known_args(words)
    console.show_log()
    try:
        if arguments.json:
            check_target(arguments.json, [arguments.run, *filter(None, [arguments.query])])
        result, lines = _result(arguments, fields)
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    rows = {name: row for name, row in result.items() if isinstance(row, dict)}
    print(
        summary.table(
            rows,
            source=result['source'],
            target=result['target'],
            average_precision=result.get('average_precision', ''),
        )
    )
    for text in [*summary.details(rows), *lines]:
        print(text)
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=2) + '\n')
    return 0


def _result(
    arguments: argparse.Namespace, fields: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Evaluates a run or two files of features; returns the result and what has to be said of it.

    Raises:
      ValueError: words that do not go together.
    """
    if not evaluate_features.is_features(arguments.run):
        of_files = ('query', 'normalise', 'average_precision')
        if wrong := [name for name in of_files if getattr(arguments, name)]:
            raise ValueError(
                f'{arguments.run} is no features file (.npz, .npy), and {", ".join(wrong)} goes'
                ' with one; a run has fields, as --config.evaluation.average_precision'
            )
        result = evaluate_run(
            arguments.run,
            checkpoint=arguments.checkpoint,
            role=arguments.on,
            fields=fields,
            rerank=arguments.rerank,
        )
        return result, []
    if not (arguments.query and evaluate_features.is_features(arguments.query)):
        raise ValueError(
            f'{arguments.run} are features of a gallery; expected the file of the queries after it,'
            ' .npz or .npy (the same file again, where every image is to be a query)'
        )
    if fields or arguments.on != TARGET or arguments.checkpoint != 'auto':
        raise ValueError(
            f'{" ".join(fields) or "--on and --checkpoint"} go with a run; {arguments.run} is a'
            ' features file'
        )
    result = evaluate_features.evaluate_files(
        arguments.query,
        arguments.run,
        normalise=arguments.normalise,
        average_precision=arguments.average_precision or 'rank',
        reranked=arguments.rerank,
    )
    return result, evaluate_features.notes(result)


def _parser(prog: str) -> argparse.ArgumentParser:
    """Returns the parser of the command's words."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Evaluates a finished run's model again, on its target or on another set; or"
        ' features in two files.',
        epilog=(
            'further arguments --config.field=value change the config of the run, e.g.'
            ' --config.data.target=folder --config.data.target_root=DIR'
        ),
        allow_abbrev=False,
    )
    parser.add_argument('run', help="the run's folder, or the features of a gallery (.npz, .npy)")
    parser.add_argument('query', nargs='?', help='the features of the queries, with such a gallery')
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    parser.add_argument(
        '--on',
        default=TARGET,
        choices=(TARGET, SOURCE),
        help='whose test split (default: target)',
    )
    parser.add_argument(
        '--rerank', action='store_true', help='evaluate again after k-reciprocal re-ranking'
    )
    parser.add_argument(
        '--normalise',
        action='store_true',
        help='divide features in files by their length (order by cosine)',
    )
    parser.add_argument(
        '--average-precision',
        choices=('rank', 'trapezoid'),
        help='its definition, of features in files (default: rank)',
    )
    parser.add_argument('--json', type=pathlib.Path, help='file to write the numbers to')
    return parser


def _with_fields(config: ConfigDict, fields: Sequence[str]) -> ConfigDict:
    """Sets fields of a config; a set in the place of another does not get the other's options."""
    changed = set_fields(config.copy_and_resolve_references(), fields)
    for role in (SOURCE, TARGET):
        if changed.data[role] != config.data[role]:
            config.data[f'{role}_options'] = ConfigDict()
    return set_fields(config, fields)


if __name__ == '__main__':
    sys.exit(main())
