"""`python -m jreid.commands.collect RUN [RUN ...] [--json FILE]`: mean and standard deviation of
finished runs that differ in their seed or split alone.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from jreid.evaluation import attributes
from jreid.files import write_text
from jreid.run.config import flat_config
from jreid.run.summary import TITLES

COLUMNS = ('mAP', 'rank1', 'rank5', 'rank10', 'rank20', 'mINP')
ATTRIBUTE_COLUMNS = attributes.COLUMNS
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


def collect(workdirs: Sequence[str | pathlib.Path]) -> dict[str, Any]:
    """Statistics of several runs.

    Args:
      workdirs: folders of finished runs of one variant.

    Returns:
      `variant`, `source`, `target`, `runs` (their number), `differ` (config field -> its value in
      each run), and `rows`: row -> column -> {'mean', 'std', 'values'}, percent. `std` is of the
      sample (n - 1), None for a single run. A row that not all runs have is left out. A row's
      single-gallery-shot CMC is a row `ROW, single shot`, the means over its attributes are a row
      `ROW, attributes on the target` (or source).

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
    names = sorted({name for config in configs for name in config} - set(FOLDERS))
    differ = {
        name: [config.get(name) for config in configs]
        for name in names
        if any(config.get(name) != configs[0].get(name) for config in configs)
    }
    if wrong := [name for name in differ if name not in MAY_DIFFER]:
        told = '; '.join(
            f'{name}: {", ".join(map(repr, sorted(map(str, differ[name]))[:3]))}'
            for name in wrong[:5]
        )
        raise ValueError(
            f'these runs are not repetitions of each other, they differ in {told}; collect runs'
            ' that differ in their seed or split alone'
        )
    places = [tuple(config.get(name) for name in MAY_DIFFER[:-1]) for config in configs]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise ValueError(
            'two of the runs have the same seed and split'
            f' ({dict(zip(MAY_DIFFER, twice, strict=False))}); name each once'
        )
    tables, first = [_rows(summary) for summary in summaries], summaries[0]
    rows = {
        name: list(columns)
        for name, columns in tables[0].items()
        if all(t.get(name, {}).keys() == columns.keys() for t in tables)
    }
    return {
        'variant': first['variant'],
        'source': first['source'],
        'target': first['target'],
        'average_precision': first['average_precision'],
        'runs': len(summaries),
        'differ': differ,
        'rows': {
            row: {column: _statistics([t[row][column] for t in tables]) for column in columns}
            for row, columns in rows.items()
        },
    }


def _rows(summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Row -> column -> percent: the rows that retrieve, and beside each what else was measured
    of it.
    """
    found: dict[str, dict[str, float]] = {}
    for name, row in summary.items():
        if not (isinstance(row, dict) and 'mAP' in row):
            continue
        found[name] = {column: row[column] for column in COLUMNS}
        if shot := row.get('single_shot'):
            found[f'{name}, single shot'] = {
                column: shot[column] for column in COLUMNS if column in shot
            }
        for role, measured in row.get('attributes', {}).items():
            known = {
                column: measured[column]
                for column in ATTRIBUTE_COLUMNS
                if measured[column] is not None
            }
            found[f'{name}, attributes on the {role}'] = known
    return found


def table(found: dict[str, Any]) -> str:
    """What `collect` gives as text, mean and standard deviation in percent."""
    lines = [
        f'{found["source"]} -> {found["target"]}, {found["variant"]}: {found["runs"]} runs'
        f' ({", ".join(found["differ"]) or "one"}), mean (deviation)'
    ]
    for columns in dict.fromkeys(tuple(values) for values in found['rows'].values()):
        lines.append(f'{"":<48}' + ''.join(f'{column:>18}' for column in columns))
        for row, values in found['rows'].items():
            if tuple(values) == columns:
                title, comma, rest = row.partition(',')
                lines.append(
                    f'{TITLES.get(title, title) + comma + rest:<48}'
                    + ''.join(f'{_cell(values[column]):>18}' for column in columns)
                )
    lines.append(f'average precision: {found["average_precision"]}')
    return '\n'.join(lines)


def _statistics(values: list[float]) -> dict[str, Any]:
    return {
        'mean': round(math.fsum(values) / len(values), 4),
        'std': round(statistics.stdev(values), 4) if len(values) > 1 else None,
        'values': values,
    }


def _cell(value: dict[str, Any]) -> str:
    return f'{value["mean"]:.1f}' + ('' if value['std'] is None else f' ({value["std"]:.1f})')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of the runs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m jreid.commands.collect',
        description='Mean and standard deviation of runs that differ in their seed or split alone.',
    )
    parser.add_argument('runs', nargs='+', help='folders of finished runs')
    parser.add_argument('--json', type=pathlib.Path, help='file to write the statistics to')
    options = parser.parse_args(arguments)
    try:
        found = collect(options.runs)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(found))
    if options.json:
        write_text(options.json, json.dumps(found, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
