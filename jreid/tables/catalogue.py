"""Reads the tables of the five papers from `targets.json` and finds the variant of each row."""

import dataclasses
import difflib
import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from typing import Any

METRICS = ('mAP', 'rank-1', 'rank-5', 'rank-10', 'rank-20')

# Rows of other papers' systems, which the papers cite for comparison and jreid does not have.
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

# Rows whose name differs from that of the variant's own row in `configs/systems/`.
SAME = {
    'w Adaptation': 'TJ-AIDL',
    'BL+Attr^t (PETA, soft)': 'BL+Attr^t',
    'ours (T=3)': 'Base+CCCDTL+DC+RTDA (T=3)',
}

# Columns that are one data set, in MTDnet's tables. The source, where a row has one, is CUHK03.
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
      name: the row's name in the paper.
      variant: name in `configs/variants.py`; '' where jreid has no variant.
      reason: why jreid has no variant; '' where it has one.
      paper: pair -> metric ('mAP', 'rank-1', ...) -> percent, for the numbers that the paper gives.
      notes: pair -> the paper's remark in the place of a number.
    """

    name: str
    variant: str
    reason: str
    paper: Mapping[str, Mapping[str, float]]
    notes: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Returns what `--row` calls it: its name, its variant, and variants that are the same."""
        from jreid.configs import variants

        same = (
            name
            for name, variant in variants.VARIANTS.items()
            if variant.of == self.variant != ''
            and variant.row == variants.VARIANTS[self.variant].row
        )
        return tuple(filter(None, (self.name, self.variant, *same)))


@dataclasses.dataclass(frozen=True)
class Table:
    """A paper's table.

    Attributes:
      name: the name that `--table` takes, such as 'dien-1'.
      system: the paper's system.
      pairs: the table's pairs in order.
      rows: the table's rows in order.
    """

    name: str
    system: str
    pairs: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Returns the system and the table's number."""
        return f'{self.system}, table {self.name.rsplit("-", 1)[1]}'


@functools.cache
def tables() -> dict[str, Table]:
    """Reads all tables, by name, in the order of `targets.json`."""
    targets = json.loads(
        importlib.resources.files('jreid.tables').joinpath('targets.json').read_text()
    )
    by_name: dict[str, Table] = {}
    for system, entries in targets.items():
        for heading, tree in entries.items():
            if heading != 'paper':
                table = _table(system, heading, tree)
                by_name[table.name] = table
    return by_name


def get(name: str) -> Table:
    """Returns a table by its name.

    Raises:
      ValueError: there is no such table; the message lists those that exist.
    """
    if name not in tables():
        near = difflib.get_close_matches(name, tables(), 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise ValueError(f"table '{name}' does not exist{hint}; there are: {', '.join(tables())}")
    return tables()[name]


def numbers(table: Table) -> str:
    """Formats the paper's numbers of the rows that jreid has, as Markdown.

    The table has one column per pair; a cell holds all metrics.
    """
    rows = [row for row in table.rows if row.variant]
    named = [
        metric
        for metric in ('rank-1', 'mAP', 'rank-5', 'rank-10')
        if any(metric in cell for row in rows for cell in row.paper.values())
    ]
    lines = [('row', 'variant', *table.pairs), ('---',) * (2 + len(table.pairs))]
    for row in rows:
        values = [
            [
                f'{row.paper[pair][metric]:g}' if metric in row.paper.get(pair, {}) else ''
                for metric in named
            ]
            for pair in table.pairs
        ]
        cells = [
            ' / '.join(text or '–' for text in texts) if any(texts) else row.notes.get(pair, '')
            for texts, pair in zip(values, table.pairs, strict=True)
        ]
        lines.append((row.name, f'`{row.variant}`', *cells))
    return (
        f'{table.title} ({" / ".join(named)}):\n\n'
        + '\n'.join(f'| {" | ".join(line)} |' for line in lines)
        + '\n'
    )


def _table(system: str, heading: str, tree: Mapping[str, Any]) -> Table:
    match = re.search(r'table (\d+)', heading.replace('; table 3 is missing from the text', ''))
    number = match[1] if match else '3'
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
    """Returns pair -> row -> metric -> number, from any of the file's layouts of a table."""
    if pair := re.search(r'\b[a-z0-9]+2[a-z0-9]+\b', heading):
        return {pair[0]: dict(tree)}
    first = next(iter(tree))
    if first.startswith('source '):  # one row, by source and target
        return {
            f'{source.removeprefix("source ")}2{target.lower()}': {system: values}
            for source, columns in tree.items()
            for target, values in columns.items()
        }
    if next(iter(tree[first])) in SINGLE:  # row -> data set
        return {
            pair: {row: columns[data] for row, columns in tree.items() if data in columns}
            for data, pair in SINGLE.items()
        }
    return {pair: dict(rows) for pair, rows in tree.items()}


def variant_of(system: str, row: str) -> tuple[str, str]:
    """Finds the variant of a row.

    Of variants whose row has this name, one of the paper's own system comes first.

    Returns:
      (variant, ''), or ('', the reason why there is no variant).
    """
    from jreid.configs import variants

    wanted = SAME.get(row, row)
    own = [name for name in variants.VARIANTS if variants.paper_row(name) == wanted]
    own.sort(key=lambda name: variants.system_of(name).paper != system)
    if own:
        return own[0], ''
    if row in CITED:
        return '', "another paper's system, cited for comparison; jreid does not have it"
    return '', f"no variant of configs/variants.py has the row '{wanted}'"


def _short(system: str) -> str:
    return system.lower().replace('-', '')
