"""The tables of the five papers, from `targets.json`, and the variant of jreid that each row is."""

import dataclasses
import difflib
import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from typing import Any

METRICS = ('mAP', 'rank-1', 'rank-5', 'rank-10', 'rank-20')

# Rows of other people's systems, which the papers cite for comparison and jreid does not have.
CITED = (
    'LOMO',
    'BoW',
    'UMDL',
    'BUC',
    'DBC',
    'PAUL',
    'CR-GAN',
    'PUL',
    'SPGAN',
    'MMFA',
    'CASCL',
    'SBSGAN',
    'ECN',
    'MAR',
    'PAST',
)

# Rows that are named otherwise than the variant's own row in `configs/systems/`.
SAME = {'w Adaptation': 'TJ-AIDL', 'BL+Attr^t (PETA, soft)': 'BL+Attr^t'}

# A column that is one data set: MTDnet's tables, whose source, where a row has one, is CUHK03.
SINGLE = {
    'CUHK03': 'cuhk03',
    'CUHK01': 'cuhk032cuhk01',
    'VIPeR': 'cuhk032viper',
    'iLIDS': 'cuhk032ilids',
    'PRID2011': 'cuhk032prid',
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a paper's table.

    Attributes:
      name: as the paper has it.
      variant: of `configs/variants.py`; '' where jreid has none.
      reason: why there is no variant; '' where there is one.
      paper: pair -> metric ('mAP', 'rank-1', ...) -> percent, only numbers that the paper gives.
      notes: pair -> what the paper says instead of a number.
    """

    name: str
    variant: str
    reason: str
    paper: Mapping[str, Mapping[str, float]]
    notes: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: `name` as `--table` takes it ('dien-1'), the paper's system, its pairs in order,
    its rows.
    """

    name: str
    system: str
    pairs: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        return f'{self.system}, table {self.name.rsplit("-", 1)[1]}'


@functools.cache
def tables() -> dict[str, Table]:
    """All tables by name, in the order of `targets.json`."""
    targets = json.loads(
        importlib.resources.files('jreid.tables').joinpath('targets.json').read_text()
    )
    found: dict[str, Table] = {}
    for system, entries in targets.items():
        for heading, tree in entries.items():
            if heading != 'paper':
                table = _table(system, heading, tree)
                found[table.name] = table
    return found


def get(name: str) -> Table:
    """A table by its name.

    Raises:
      ValueError: no such table; the message lists those that exist.
    """
    if name not in tables():
        near = difflib.get_close_matches(name, tables(), 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise ValueError(f"table '{name}' does not exist{hint}; there are: {', '.join(tables())}")
    return tables()[name]


def numbers(table: Table) -> str:
    """The paper's numbers of the rows that jreid has, as Markdown: a column a pair, metrics in
    one cell.
    """
    rows = [row for row in table.rows if row.variant]
    named = [
        metric
        for metric in ('rank-1', 'mAP', 'rank-5', 'rank-10')
        if any(metric in cell for row in rows for cell in row.paper.values())
    ]
    lines = [('row', 'variant', *table.pairs), ('---',) * (2 + len(table.pairs))]
    for row in rows:
        cells = [
            [
                f'{row.paper[pair][metric]:g}' if metric in row.paper.get(pair, {}) else ''
                for metric in named
            ]
            for pair in table.pairs
        ]
        told = [
            ' / '.join(value or '–' for value in cell) if any(cell) else row.notes.get(pair, '')
            for cell, pair in zip(cells, table.pairs, strict=True)
        ]
        lines.append((row.name, f'`{row.variant}`', *told))
    return (
        f'{table.title} ({" / ".join(named)}):\n\n'
        + '\n'.join(f'| {" | ".join(line)} |' for line in lines)
        + '\n'
    )


def _table(system: str, heading: str, tree: Mapping[str, Any]) -> Table:
    number = (
        found[1]
        if (
            found := re.search(
                r'table (\d+)', heading.replace('; table 3 is missing from the text', '')
            )
        )
        else '3'
    )
    by_pair = _by_pair(system, heading, tree)
    pairs = tuple(by_pair)
    names = list(dict.fromkeys(name for rows in by_pair.values() for name in rows))
    rows = []
    for name in names:
        values = {pair: by_pair[pair][name] for pair in pairs if name in by_pair[pair]}
        paper = {
            pair: {m: float(v) for m, v in numbers.items() if m in METRICS and v is not None}
            for pair, numbers in values.items()
        }
        notes = {pair: numbers['note'] for pair, numbers in values.items() if 'note' in numbers}
        variant, reason = variant_of(system, name)
        rows.append(
            Row(
                name,
                variant,
                reason,
                {pair: numbers for pair, numbers in paper.items() if numbers},
                notes,
            )
        )
    return Table(f'{_short(system)}-{number}', system, pairs, tuple(rows))


def _by_pair(
    system: str, heading: str, tree: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, Any]]]:
    """pair -> row -> what the paper says, of a table in any of the file's arrangements."""
    if pair := re.search(r'\b[a-z0-9]+2[a-z0-9]+\b', heading):
        return {pair[0]: dict(tree)}
    first = next(iter(tree))
    if first.startswith('source '):  # one row, by source and target
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for source, columns in tree.items():
            for target, numbers in columns.items():
                found[f'{source.removeprefix("source ")}2{target.lower()}'] = {system: numbers}
        return found
    if next(iter(tree[first])) in SINGLE:  # row -> data set
        return {
            pair: {row: columns[data] for row, columns in tree.items() if data in columns}
            for data, pair in SINGLE.items()
        }
    return {pair: dict(rows) for pair, rows in tree.items()}


def variant_of(system: str, row: str) -> tuple[str, str]:
    """(variant, '') of a row, or ('', the reason why there is none). A row of the paper's own
    system comes before one of another's of the same name.
    """
    from jreid.configs import variants

    wanted = SAME.get(row, row)
    own = [name for name in variants.VARIANTS if variants.paper_row(name) == wanted]
    own.sort(key=lambda name: _family(name) != _short(system))
    if own:
        return own[0], ''
    if row in CITED:
        return '', "another paper's system, cited for comparison; jreid does not have it"
    return '', f"no variant of configs/variants.py has the row '{wanted}'"


def _short(system: str) -> str:
    return system.lower().replace('-', '')


def _family(variant: str) -> str:
    """The system that a variant belongs to, as the tables name it: SSG's variants stand in PTL's
    tables.
    """
    from jreid.configs import variants

    name = str(variants.VARIANTS[variant][0]['name'])
    return {'ssg': 'ptl', 'baseline': 'ptl'}.get(name, name)
