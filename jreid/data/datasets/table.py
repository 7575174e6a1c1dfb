"""Reads the user's CSV files: one row per image, with what is known of it."""

import csv
import os
import pathlib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from jreid.data.datasets import finding, listing

JUNK = '-1'
"""The identity of boxes that show no person, or a part of one only."""

PREFIX = 'attribute_'
"""Begins the names of columns that are attributes."""

GAP = 'nan'
"""What pandas makes of a gap where it turns a column into words."""

LABELS = ('identity', 'camera', 'split')
_WHOLE = re.compile(r'(\d+|-1)(?:\.0*)?')
_NUMBER = re.compile(r'[-+]?(?:\d+\.?\d*|\.\d+)')


class Row(NamedTuple):
    """An image as the user's files describe it.

    An empty identity or camera is unknown, the identity '-1' is junk; empty attributes are not
    annotated.
    """

    path: str
    identity: str = ''
    camera: str = ''
    split: str = ''
    attributes: tuple[float, ...] = ()


class Table(NamedTuple):
    """A CSV file.

    Attributes:
      rows: of the images that can be used, in the order of the file.
      attributes: names of the attributes.
      passed_over: columns that were not read.
      gaps: number of identities and cameras that are `nan` and were read as empty.
    """

    rows: list[Row]
    attributes: tuple[str, ...]
    passed_over: tuple[str, ...]
    gaps: int = 0


def read(
    table: pathlib.Path,
    *,
    root: pathlib.Path | None = None,
    image: Sequence[str] = ('image',),
    needed: Sequence[str] = (),
    splits: Collection[str] = (),
    attributes: Sequence[str] = (),
    bad_files: str = 'error',
    layout: str = '',
    advice: str = '',
) -> Table:
    """Reads a CSV file with a heading, in UTF-8.

    Args:
      table: the file. Its images are relative to its folder.
      root: the folder that all images must lie in; None for the file's own.
      image: names for the column of images, the first of which counts.
      needed: the columns of labels that must be there.
      splits: the values of the column `split`, where it is needed.
      attributes: columns that are attributes, beside those that begin with `attribute_`.
      bad_files: 'error' or 'skip', for missing and empty files.
      layout: what the file should look like, for errors.
      advice: what to do about an image outside `root`, for errors.

    Raises:
      ValueError: the file or a row is not as described; the message names the line.
    """
    try:
        with open(table, newline='', encoding='utf-8-sig') as file:
            return _read(
                csv.DictReader(file, strict=True),
                table,
                root or table.parent,
                image,
                needed,
                splits,
                attributes,
                bad_files,
                f'. {layout}' if layout else '',
                advice,
            )
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{table} cannot be read as a CSV file in UTF-8: {error}') from error


def _read(
    reader: csv.DictReader,
    table: pathlib.Path,
    root: pathlib.Path,
    image: Sequence[str],
    needed: Sequence[str],
    splits: Collection[str],
    attributes: Sequence[str],
    bad_files: str,
    layout: str,
    advice: str,
) -> Table:
    columns = [str(column).strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    main = next((name for name in image if name in columns), '')
    if lacking := [c for c in ((main or image[0]), *needed, *attributes) if c not in columns]:
        other = next((m for m in (';', '\t', '|') if len(columns) == 1 and m in columns[0]), '')
        hint = f'; its values are separated by {other!r}, expected commas' if other else ''
        raise ValueError(
            f'{table} has no column {", ".join(lacking)}, it has {columns}{hint}{layout}'
        )
    kept = tuple(c for c in columns if c in attributes or c.startswith(PREFIX))
    names = tuple(c if c in attributes else c.removeprefix(PREFIX) for c in kept)
    used = [main, *(c for c in columns if c in LABELS), *kept]
    if any(columns.count(c) > 1 for c in used) or len(set(names)) < len(names):
        raise ValueError(f'{table} has a column twice: {columns}')
    rows: list[Row] = []
    missing, empty, paths, gaps = [], [], set(), 0
    for values in reader:
        at = f'{table}, line {reader.line_num}'
        if None in values or None in values.values():
            raise ValueError(f'{at}: expected {len(columns)} values, {",".join(columns)}')
        path = _image(table, values[main], root, at, advice)
        if values[main] != values[main].strip() and not os.path.isfile(path):
            path = _image(table, values[main].strip(), root, at, advice)
        if path in paths:
            raise ValueError(f'{at}: {values[main]!r} was named before; an image has one row')
        paths.add(path)
        gaps += sum(values.get(name, '').strip() == GAP for name in ('identity', 'camera'))
        camera = label(values.get('camera', ''), 'camera', at)
        row = Row(
            path,
            label(values.get('identity', ''), 'identity', at),
            '' if camera == JUNK else camera,
            values.get('split', '').strip(),
            _attributes([values[c].strip() for c in kept], names, at),
        )
        if splits and row.split not in splits:
            raise ValueError(f'{at}: split is {row.split!r}; expected {", ".join(splits)}')
        if not os.path.isfile(path):
            missing.append(values[main])
        elif not os.path.getsize(path):
            empty.append(values[main])
        else:
            rows.append(row)
    finding.report_bad(missing, len(paths), table, 'do not exist', bad_files)
    finding.report_bad(empty, len(paths), table, 'are empty files', bad_files)
    passed_over = tuple(c or '(no name)' for c in columns if c not in used)
    return Table(rows, names, passed_over, gaps)


def _image(table: pathlib.Path, name: str, root: pathlib.Path, at: str, advice: str) -> str:
    path = None
    if name:
        path = listing.inside(root, os.path.join(os.path.normpath(table.parent), name))
    if path is None:
        raise ValueError(
            f'{at}: the image {name!r} leads out of {root} or holds control characters; expected a'
            f' path below that folder{advice}'
        )
    return path


def label(text: str, what: str, at: str) -> str:
    """Returns a label as a row holds it: a number without its fraction, a word, or ''.

    pandas writes the whole numbers of a column with gaps as 1.0, and gaps may be nan. Nan, None and
    the like are names.

    Raises:
      ValueError: control characters, a negative number other than -1, or a fraction.
    """
    text = text.strip()
    if finding.control_characters(text):
        raise ValueError(f'{at}: {text!r} holds control characters; expected a number or a word')
    if text == GAP:
        return ''
    if match := _WHOLE.fullmatch(text):
        return match[1]
    if _NUMBER.fullmatch(text):
        raise ValueError(
            f'{at}: {what} is {text}; expected a whole number from 0, a word, -1 for junk, or'
            ' nothing where it is unknown'
        )
    return text


def numbered(labels: Sequence[str], *, keep: bool = False) -> dict[str, int]:
    """Numbers the known labels 0, 1, ... in sorted order.

    Numbers are sorted by value and words by letters. With `keep`, numbers below 2**31 stay
    unchanged.
    """
    known = {label for label in labels if label not in ('', JUNK)}
    if not all(label.isdecimal() for label in known):
        return {label: i for i, label in enumerate(sorted(known))}
    values = {label: int(label) for label in known}
    if keep and max(values.values(), default=0) < 1 << 31:
        return values
    place = {value: i for i, value in enumerate(sorted(set(values.values())))}
    return {label: place[value] for label, value in values.items()}


def without_junk(rows: Sequence[Row]) -> list[Row]:
    """Leaves out the junk of a split, as Market-1501's rule does.

    Where no image of the split has an identity, -1 says that they are unknown, and all stay.
    """
    if any(row.identity not in ('', JUNK) for row in rows):
        return [row for row in rows if row.identity != JUNK]
    return [row._replace(identity='') for row in rows]


def _attributes(texts: Sequence[str], names: Sequence[str], at: str) -> tuple[float, ...]:
    """Parses numbers in [0, 1]; returns () where all are empty."""
    if not any(texts):
        return ()
    numbers = []
    for text, name in zip(texts, names, strict=True):
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise ValueError(
                f'{at}: {name} is {text!r}; expected 0, 1 or a soft label between (or all'
                ' attributes empty)'
            )
        numbers.append(number)
    return tuple(numbers)
