"""A set of the user's own: a CSV file, or folders train, query and gallery.

Each of these folders has one folder per identity.
"""

import csv
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jreid.data.datasets import listing
from jreid.data.index import Index, Splits

SPLITS = ('train', 'query', 'gallery')
LAYOUT = (
    'either index.csv with the columns image,identity,camera,split (camera may be left out; further'
    ' columns are attributes, 0 or 1), or folders train, query and gallery, each with a folder'
    ' per identity'
)


class Row(NamedTuple):
    """An image as the user's files describe it.

    An empty identity or camera is unknown; empty attributes are not annotated.
    """

    path: str
    identity: str
    camera: str
    attributes: tuple[float, ...] = ()


def load(
    root: str | os.PathLike,
    *,
    title: str = 'folder',
    camera_pattern: str = r'(?:^|_)c(\d+)',
    test: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads a set of the user's own.

    A CSV (root itself, or index.csv in it) has one row per image. Its columns are `image` (relative
    to the CSV's folder), `identity` (a number or a word; empty in the training split = unlabelled),
    `camera` (a number or a word), `split` (train, query or gallery), and one column per attribute.
    Without a CSV, root/SPLIT/IDENTITY/IMAGE is read. Where no image has a camera, the camera rule
    of the evaluation is off and the summary says so.

    Args:
      title: of the set, in printouts.
      camera_pattern: for folders: a pattern to search for in base names; its group is the camera.
      test: False where there is no query and gallery, for training only.
      bad_files: 'error' or 'skip', for missing and empty files.

    Raises:
      ValueError: rows or files are not as described; the message counts and names them.
    """
    root = pathlib.Path(root).expanduser().absolute()
    table = root if root.suffix.lower() == '.csv' else root / 'index.csv'
    required = SPLITS if test else SPLITS[:1]
    names: tuple[str, ...] = ()
    if table.is_file():
        rows, names = _read_csv(table, bad_files)
    elif all((root / split).is_dir() for split in required):
        rows = {
            split: _read_folder(root / split, re.compile(camera_pattern), bad_files)
            for split in required
        }
    else:
        raise FileNotFoundError(
            f'{root} holds neither index.csv nor the folders {", ".join(required)}{_others(root)}.'
            f' The layout: {LAYOUT}'
        )
    return _splits(
        title,
        {split: rows.get(split, []) if split in required else [] for split in SPLITS},
        names,
        required,
        str(root),
    )


def _others(root: pathlib.Path) -> str:
    """Says which other CSV files there are instead of index.csv, and what to do with them."""
    if root.suffix.lower() == '.csv' or not root.is_dir():
        return ' (no such file)' if root.suffix.lower() == '.csv' else ' (no such folder)'
    csv_files = sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() == '.csv')
    return (
        f', but {", ".join(csv_files[:5])}: name one of them index.csv, or give its path as root'
        if csv_files
        else ''
    )


def _splits(
    name: str,
    rows: dict[str, list[Row]],
    names: tuple[str, ...],
    required: Sequence[str],
    where: str,
) -> Splits:
    everything = [row for split in SPLITS for row in rows[split]]
    without = [row.path for row in everything if not row.camera]
    if without and len(without) < len(everything):
        raise ValueError(
            f'{name}: {len(without):,} of {len(everything):,} images have no camera, e.g.'
            f' {without[0]!r}; give every image one, or none'
        )
    camera = _numbers([row.camera for row in everything])
    numbers = {'train': _numbers([row.identity for row in rows['train']])}
    numbers['query'] = numbers['gallery'] = _numbers(
        [row.identity for row in rows['query'] + rows['gallery']], keep=True
    )
    parts: dict[str, Index] = {}
    for split in SPLITS:
        if split in required and not rows[split]:
            raise ValueError(f'{name}: the {split} split is empty in {where}. The layout: {LAYOUT}')
        unknown = [row.path for row in rows[split] if not row.identity]
        if unknown and split != 'train':
            raise ValueError(
                f'{name}: {len(unknown):,} of {len(rows[split]):,} {split} images have no identity,'
                f' e.g. {unknown[0]!r}; a test split needs all'
            )
        photos = [
            listing.Photo(r.path, numbers[split].get(r.identity, -1), camera.get(r.camera, -1))
            for r in rows[split]
        ]
        parts[split] = _with_attributes(listing.build(photos, dense=False), rows[split], names)
    return Splits(name=name, has_cameras=not without, **parts)


def _with_attributes(index: Index, rows: Sequence[Row], names: tuple[str, ...]) -> Index:
    if not any(row.attributes for row in rows):
        return index
    blank = (np.nan,) * len(names)
    return Index(
        index.path,
        index.identity,
        index.camera,
        np.asarray([r.attributes or blank for r in rows], np.float32),
        names,
    )


def _numbers(labels: Sequence[str], *, keep: bool = False) -> dict[str, int]:
    """Numbers the known labels 0, 1, ... in sorted order.

    Numbers are sorted by value and words by letters; with `keep`, numbers stay unchanged.
    """
    known = {label for label in labels if label}
    if not all(label.isdecimal() for label in known):
        return {label: i for i, label in enumerate(sorted(known))}
    if keep:
        return {label: int(label) for label in known}
    place = {value: i for i, value in enumerate(sorted({int(label) for label in known}))}
    return {label: place[int(label)] for label in known}


def _read_folder(folder: pathlib.Path, pattern: re.Pattern[str], bad_files: str) -> list[Row]:
    rows: list[Row] = []
    for person in sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith('.')
    ):
        for photo in listing.scan(
            person, lambda base: (0, 0), example='image.jpg', bad_files=bad_files
        ):
            match = pattern.search(os.path.basename(photo.path))
            rows.append(Row(photo.path, person.name, match[1] if match else ''))
    loose = [
        entry.name for entry in folder.iterdir() if entry.is_file() and listing.is_image(entry.name)
    ]
    listing.report_bad(
        sorted(loose), len(rows) + len(loose), folder, 'lie in no folder of an identity', bad_files
    )
    return rows


def _read_csv(table: pathlib.Path, bad_files: str) -> tuple[dict[str, list[Row]], tuple[str, ...]]:
    try:
        return _read_rows(table, bad_files)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{table} cannot be read as a CSV file in UTF-8: {error}') from error


def _read_rows(table: pathlib.Path, bad_files: str) -> tuple[dict[str, list[Row]], tuple[str, ...]]:
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    missing, empty, paths = [], [], set()
    with open(table, newline='', encoding='utf-8-sig') as file:
        reader = csv.DictReader(file, strict=True)
        columns = [str(column).strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        if lacking := [c for c in ('image', 'identity', 'split') if c not in columns]:
            other = next(
                (mark for mark in (';', '\t', '|') if len(columns) == 1 and mark in columns[0]), ''
            )
            hint = f'; its values are separated by {other!r}, expected commas' if other else ''
            raise ValueError(
                f'{table} has no column {", ".join(lacking)}, it has {columns}{hint}. The layout:'
                f' {LAYOUT}'
            )
        if len(set(columns)) < len(columns):
            raise ValueError(f'{table} has a column twice: {columns}')
        names = tuple(c for c in columns if c not in ('image', 'identity', 'camera', 'split'))
        for values in reader:
            at = f'{table}, line {reader.line_num}'
            if None in values or None in values.values():
                raise ValueError(f'{at}: expected {len(columns)} values, {",".join(columns)}')
            path = _image(table, values['image'], at)
            if path in paths:
                raise ValueError(
                    f'{at}: {values["image"]!r} was named before; an image has one row'
                )
            paths.add(path)
            split = values['split'].strip()
            if split not in SPLITS:
                raise ValueError(f'{at}: split is {split!r}; expected {", ".join(SPLITS)}')
            attributes = _attribute_values([values[n].strip() for n in names], names, at)
            if not os.path.isfile(path):
                missing.append(values['image'])
            elif not os.path.getsize(path):
                empty.append(values['image'])
            else:
                rows[split].append(
                    Row(
                        path,
                        _label(values['identity'], at),
                        _label(values.get('camera', ''), at),
                        attributes,
                    )
                )
    listing.report_bad(missing, len(paths), table, 'do not exist', bad_files)
    listing.report_bad(empty, len(paths), table, 'are empty files', bad_files)
    return rows, names


def _image(table: pathlib.Path, name: str, at: str) -> str:
    path = listing.inside(table.parent, name)
    if path is None:
        raise ValueError(
            f'{at}: the image {name!r} leads out of {table.parent} or holds control characters;'
            ' expected a path below that folder'
        )
    return path


def _label(text: str, at: str) -> str:
    label = text.strip()
    if listing.control_characters(label):
        raise ValueError(f'{at}: {label!r} holds control characters; expected a number or a word')
    return '' if label == '-1' else label


def _attribute_values(texts: Sequence[str], names: Sequence[str], at: str) -> tuple[float, ...]:
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
