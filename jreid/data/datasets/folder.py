"""A set of the user's own: a CSV file, or folders of images with or without labels."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from jreid.data.datasets import camera_names, folder_layouts, listing
from jreid.data.datasets import table as tables
from jreid.data.datasets.folder_layouts import LAYOUTS, SPLITS, Reading
from jreid.data.datasets.table import Row
from jreid.data.index import Index, Splits

LAYOUT = """The layouts:
  index.csv: columns image,identity,camera,split; camera may be left out, identity empty in train
  SPLIT/IDENTITY/IMAGE: folders train, query and gallery (the last two may be left out)
  SPLIT/IDENTITY/CAMERA/IMAGE: the same, with a folder per camera
  CAMERA/IMAGE: images without identities, in a folder per camera
  IMAGE: images without identities, right in the folder"""


def load(
    root: str | os.PathLike,
    *,
    title: str = 'folder',
    layout: str = 'auto',
    camera_pattern: str = camera_names.CAMERA,
    identity_pattern: str = '',
    attributes: str | Sequence[str] = (),
    test: bool | None = None,
    bad_files: str = 'error',
) -> Splits:
    """Reads a set of the user's own, with labels or without any.

    A CSV (root itself, or index.csv in it) has one row per image. Its columns are `image` (relative
    to the CSV's folder), `identity`, `camera`, `split` (train, query or gallery), and attributes.
    Identities and cameras are numbers or words. An identity of -1 is junk, and one left empty in
    the training split is unlabelled. Other columns are passed over, and `notes` name them.

    Without a CSV, root/SPLIT/IDENTITY/IMAGE is read, or SPLIT/IDENTITY/CAMERA/IMAGE. Without a
    folder `train`, the images are a training split whose identities are unknown (-1), and query and
    gallery are empty. They lie in folders CAMERA/IMAGE, or right in one folder. There the cameras
    are known where all names say it, as a tracker's do (`c3_t0012_f000345.jpg`, `cam1_12_345.png`).

    Junk is left out of training and of the gallery. Where no image has a camera, the camera rule of
    the evaluation is off and the summary says so.

    Args:
      title: of the set, in printouts.
      layout: 'auto', 'csv', 'splits', 'cameras' (a folder per camera, with any folders within) or
        'flat'.
      camera_pattern: for folders: a regular expression to search for in base names. Its group, or
        the one named camera, is the camera; one named identity is the identity, as with
        identity_pattern: r'^(?P<identity>[^_]+)_(?P<camera>[^_]+)_'. '' for none.
      identity_pattern: for folders: the same for the identity alone. Folders within are then
        cameras, and a folder without train, query and gallery is a labelled training split.
      attributes: columns of the CSV file that are attributes, 0 or 1, beside those that begin with
        `attribute_`; also as one text, separated by commas.
      test: True: query and gallery must be there. False: they are not read. None: as it is.
      bad_files: 'error' or 'skip', for missing, empty and misplaced files.

    Raises:
      FileNotFoundError: root is in none of the layouts.
      ValueError: rows or files are not as described; the message counts and names them.
    """
    root = pathlib.Path(root).expanduser().absolute()
    if layout not in ('auto', 'csv', *LAYOUTS):
        raise ValueError(f"layout is {layout!r}; expected 'auto', 'csv', {_words(LAYOUTS)}")
    csv_file = root if root.suffix.lower() == '.csv' and not root.is_dir() else root / 'index.csv'
    wanted = SPLITS[:1] if test is False else SPLITS
    if layout == 'csv' or (layout == 'auto' and (csv_file.is_file() or csv_file == root)):
        if not csv_file.is_file():
            raise FileNotFoundError(f'{csv_file} was not found (no such file). {LAYOUT}')
        reading = _from_csv(csv_file, attributes, bad_files)
    else:
        if not root.is_dir():
            what = (
                'is a file, expected a folder'
                if root.is_file()
                else 'was not found (no such folder)'
            )
            raise FileNotFoundError(f'{root} {what}. {LAYOUT}')
        patterns = camera_names.Patterns.of(camera_pattern, identity_pattern)
        reading = folder_layouts.read(root, layout, patterns, wanted, bad_files, LAYOUT)
    return _splits(title, reading, wanted, test, str(root))


def _words(names: Sequence[str]) -> str:
    return ', '.join(map(repr, names))


def _from_csv(path: pathlib.Path, attributes: str | Sequence[str], bad_files: str) -> Reading:
    names = attributes.split(',') if isinstance(attributes, str) else attributes
    table = tables.read(
        path,
        needed=('identity', 'split'),
        splits=SPLITS,
        attributes=[name.strip() for name in names if name.strip()],
        bad_files=bad_files,
        layout=LAYOUT,
    )
    notes = []
    if table.passed_over:
        notes.append(
            f'columns of {path.name} that are not read: {", ".join(table.passed_over)} (the option'
            f' attributes, or names that begin with {tables.PREFIX!r}, would make them attributes)'
        )
    if table.gaps:
        notes.append(
            f'{table.gaps:,} labels of {path.name} are nan, as pandas writes gaps: read as empty'
        )
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row in table.rows:
        rows[row.split].append(row)
    return Reading(rows, notes, f'the column identity of {path.name} is empty', table.attributes)


def _splits(
    name: str, reading: Reading, wanted: Sequence[str], test: bool | None, where: str
) -> Splits:
    rows = {split: reading.rows.get(split, []) if split in wanted else [] for split in SPLITS}
    notes = list(reading.notes)
    for split in ('query', 'gallery'):
        if (test or rows['query'] or rows['gallery']) and not rows[split]:
            raise ValueError(f'{name}: the {split} split is empty in {where}. {LAYOUT}')
    if not rows['train']:
        raise ValueError(f'{name}: the train split is empty in {where}. {LAYOUT}')
    for split in ('query', 'gallery'):
        lacking = ('', tables.JUNK) if split == 'query' else ('',)
        bad = [row.path for row in rows[split] if row.identity in lacking]
        if bad:
            raise ValueError(
                f'{name}: {len(bad):,} of {len(rows[split]):,} {split} images have no identity,'
                f' e.g. {bad[0]!r}; a test split needs all (a gallery may hold junk, -1)'
            )
    if rows['gallery'] and all(row.identity == tables.JUNK for row in rows['gallery']):
        raise ValueError(
            f'{name}: all {len(rows["gallery"]):,} gallery images are junk (-1), e.g.'
            f' {rows["gallery"][0].path!r}; expected images of people, which queries can find'
        )
    for split in SPLITS:
        kept = tables.without_junk(rows[split])
        if junk := len(rows[split]) - len(kept):
            notes.append(f'{junk:,} {split} images are junk (-1) and left out')
        rows[split] = kept
    everything = [row for split in SPLITS for row in rows[split]]
    without = [row.path for row in everything if not row.camera]
    if without and len(without) < len(everything):
        raise ValueError(
            f'{name}: {len(without):,} of {len(everything):,} images have no camera, e.g.'
            f' {without[0]!r}; give every image one, or none{reading.advice and "; "}'
            f'{reading.advice}'
        )
    if not any(row.identity for row in rows['train']):
        notes.insert(0, f'identities of the training images unknown: {reading.unlabelled}')
    camera = tables.numbered([row.camera for row in everything])
    numbers = {'train': tables.numbered([row.identity for row in rows['train']])}
    numbers['query'] = numbers['gallery'] = tables.numbered(
        [row.identity for row in rows['query'] + rows['gallery']], keep=True
    )
    parts = {}
    for split in SPLITS:
        photos = [
            listing.Photo(r.path, numbers[split].get(r.identity, -1), camera.get(r.camera, -1))
            for r in rows[split]
        ]
        index = listing.build(photos, dense=False)
        parts[split] = _with_attributes(index, rows[split], reading.attributes)
    return Splits(
        name=name,
        train=parts['train'],
        query=parts['query'],
        gallery=parts['gallery'],
        has_cameras=not without,
        notes=tuple(notes),
    )


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
