"""`jreid collect RUN [RUN ...] [--json FILE]`: mean and deviation over seeds or splits."""

import argparse
import json
import math
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jreid.evaluation import attributes
from jreid.files import write_text
from jreid.run import places
from jreid.run.config import flat_config
from jreid.run.summary import TITLES

COLUMNS = ('mAP', 'rank1', 'rank5', 'rank10', 'rank20', 'mINP')
MAY_DIFFER = (
    'seed',
    'data.source_options.split',
    'data.target_options.split',
    'data.source_options.split_seed',
    'data.target_options.split_seed',
    'init.run',
)
FOLDERS = (
    'data.root',
    'data.source_root',
    'data.target_root',
    'data.pack_folder',
    'data.target_options.write_splits',
    'data.source_options.write_splits',
)

Rows = Mapping[str, Mapping[str, float]]
"""row -> column -> percent"""


def collect(workdirs: Sequence[str | pathlib.Path]) -> dict[str, Any]:
    """Computes mean and deviation of several runs.

    Args:
      workdirs: folders of finished runs of one variant.

    Returns:
      A dictionary with these entries:

      - `variant`, `source`, `target`, `average_precision`: as in `summary.json`.
      - `runs`: number of runs.
      - `differ`: config field -> its value per run, for the fields in which the runs differ.
      - `rows`: row -> column -> {'mean', 'std', 'values'}, percent. `std` is the deviation of the
        sample (n - 1), None for a single run. Rows that only some of the runs have are left out.
        The CMC with a single gallery shot is the row `ROW, single shot`. The means over the
        attributes are the row `ROW, attributes on the target` (or source).

    Raises:
      FileNotFoundError: a folder holds no finished run.
      ValueError: no run, a run named twice, or runs that differ in more than their seed or split.
    """
    if not workdirs:
        raise ValueError('no run to collect; give the folders of finished runs')
    summaries, configs = [], []
    for folder in map(pathlib.Path, workdirs):
        missing = [
            name for name in ('summary.json', 'config.json') if not (folder / name).is_file()
        ]
        if missing:
            raise FileNotFoundError(f'{folder} holds no finished run: {", ".join(missing)} missing')
        summaries.append(json.loads((folder / 'summary.json').read_text()))
        configs.append(flat_config(json.loads((folder / 'config.json').read_text())))
    differ = _differing_fields(configs)
    run_rows, first = [_rows(summary) for summary in summaries], summaries[0]
    rows = {
        name: list(columns)
        for name, columns in run_rows[0].items()
        if all(one.get(name, {}).keys() == columns.keys() for one in run_rows)
    }
    return {
        'variant': first['variant'],
        'source': first['source'],
        'target': first['target'],
        'average_precision': first['average_precision'],
        'runs': len(summaries),
        'differ': differ,
        'rows': {
            row: {column: _statistics([one[row][column] for one in run_rows]) for column in columns}
            for row, columns in rows.items()
        },
    }


def table(collected: Mapping[str, Any]) -> str:
    """Formats what `collect` returns as text, mean and deviation in percent."""
    lines = [
        f'{places.heading(collected["source"], collected["target"])}, {collected["variant"]}:'
        f' {collected["runs"]} runs'
        f' ({", ".join(collected["differ"]) or "one"}), mean (deviation)'
    ]
    for columns in dict.fromkeys(tuple(values) for values in collected['rows'].values()):
        lines.append(f'{"":<48}' + ''.join(f'{column:>18}' for column in columns))
        for row, values in collected['rows'].items():
            if tuple(values) == columns:
                title, comma, rest = row.partition(',')
                lines.append(
                    f'{TITLES.get(title, title) + comma + rest:<48}'
                    + ''.join(f'{_cell(values[column]):>18}' for column in columns)
                )
    lines.append(f'average precision: {collected["average_precision"]}')
    return '\n'.join(lines)


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid collect') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Mean and deviation of finished runs that differ in their seed or split.',
    )
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a finished run')
    parser.add_argument('--json', type=pathlib.Path, help='file to write the statistics to')
    arguments = parser.parse_args(words)
    try:
        collected = collect(arguments.runs)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(collected))
    if arguments.json:
        write_text(arguments.json, json.dumps(collected, indent=2) + '\n')
    return 0


def _differing_fields(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns config field -> its value per run, for the fields in which the runs differ.

    Args:
      runs: config field -> value; an older run may lack a field.

    Raises:
      ValueError: the runs differ in more than their seed or split, or two of them in neither.
    """
    names = sorted({name for fields in runs for name in fields} - set(FOLDERS))
    differ = {
        name: [fields.get(name) for fields in runs]
        for name in names
        if any(fields.get(name) != runs[0].get(name) for fields in runs)
    }
    if wrong := [name for name in differ if name not in MAY_DIFFER]:
        values = '; '.join(
            f'{name}: {", ".join(map(repr, sorted(map(str, differ[name]))[:3]))}'
            for name in wrong[:5]
        )
        raise ValueError(
            f'these runs are not repetitions of each other, they differ in {values}; collect runs'
            ' that differ in their seed or split alone'
        )
    places = [tuple(fields.get(name) for name in MAY_DIFFER[:-1]) for fields in runs]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise ValueError(
            'two of the runs have the same seed and split'
            f' ({dict(zip(MAY_DIFFER, twice, strict=False))}); name each once'
        )
    return differ


def _rows(summary: Mapping[str, Any]) -> Rows:
    """Returns the rows with retrieval, and one row per other measure of them."""
    rows: dict[str, dict[str, float]] = {}
    for name, row in summary.items():
        if not (isinstance(row, dict) and 'mAP' in row):
            continue
        rows[name] = {column: row[column] for column in COLUMNS}
        if shot := row.get('single_shot'):
            rows[f'{name}, single shot'] = {
                column: shot[column] for column in COLUMNS if column in shot
            }
        for role, metrics in row.get('attributes', {}).items():
            rows[f'{name}, attributes on the {role}'] = {
                column: metrics[column]
                for column in attributes.COLUMNS
                if metrics[column] is not None
            }
    return rows


def _statistics(values: list[float]) -> dict[str, Any]:
    return {
        'mean': round(math.fsum(values) / len(values), 4),
        'std': round(statistics.stdev(values), 4) if len(values) > 1 else None,
        'values': values,
    }


def _cell(value: Mapping[str, Any]) -> str:
    return f'{value["mean"]:.1f}' + ('' if value['std'] is None else f' ({value["std"]:.1f})')


if __name__ == '__main__':
    sys.exit(main())
