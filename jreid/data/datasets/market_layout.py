"""The layout of Market-1501, which DukeMTMC-reID and the synthetic set share."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping

from jreid.data.datasets import attributes as annotation
from jreid.data.datasets import listing
from jreid.data.index import Splits

FOLDERS = {'train': 'bounding_box_train', 'query': 'query', 'gallery': 'bounding_box_test'}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is particular to a set of this layout.

    Attributes:
      name: as `jreid.data.load` knows it.
      title: as people write it.
      folder_names: under which it lies in the user's folder.
      pattern: of a whole base name without its suffix; its groups are the identity and the camera,
        from 1.
      example: a name of that pattern.
      attribute_file: base name of its annotations.
      attribute_folders: names of their repository.
      counts: split -> (images, identities) of the whole set, or None where there is no such number.
      cameras: of the whole set; a larger number in a name is no camera. None for any number.
    """

    name: str
    title: str
    folder_names: tuple[str, ...]
    pattern: re.Pattern[str]
    example: str
    attribute_file: str
    attribute_folders: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, int]] | None = None
    cameras: int | None = None


def load(
    layout: Layout,
    root: str | os.PathLike,
    *,
    attributes: bool | str | os.PathLike | None,
    age: str,
    expected: bool,
    bad_files: str,
    masks: bool = False,
) -> Splits:
    """Reads the three folders of a set in this layout.

    Junk (-1) is left out; distractors (0) stay in the gallery; neither is trained on.

    Args:
      masks: whether part masks lie in masks/<folder>/<name>.png.
      Others: see `jreid.data.datasets.market1501.load`.
    """
    described = f'{", ".join(FOLDERS.values())} with images like {layout.example}'
    folder = listing.find_folder(
        root, layout.folder_names, tuple(FOLDERS.values()), name=layout.title, layout=described
    )
    path = annotation.find(attributes, layout.attribute_file, _beside(folder, layout))
    tables = annotation.read(path, age=age) if path else (None, None)
    parse = listing.by_pattern(layout.pattern, layout.cameras)
    parts = {}
    for split, sub in FOLDERS.items():
        lowest = 0 if split == 'gallery' else 1
        photos = [
            p
            for p in listing.scan(folder / sub, parse, example=layout.example, bad_files=bad_files)
            if p.identity >= lowest
        ]
        listing.require_images(
            photos, name=layout.title, split=split, where=folder / sub, layout=described
        )
        mask_of = {p.path: _mask(folder, sub, p.path) for p in photos} if masks else None
        parts[split] = listing.build(
            photos, dense=split == 'train', table=tables[split != 'train'], masks=mask_of
        )
    splits = Splits(
        name=layout.name,
        train=parts['train'],
        query=parts['query'],
        gallery=parts['gallery'],
        has_cameras=True,
    )
    if expected and layout.counts and layout.cameras:
        listing.check_counts(splits, layout.counts, layout.cameras)
    return splits


def _beside(folder: pathlib.Path, layout: Layout) -> tuple[pathlib.Path, ...]:
    """Returns where annotations may lie: with the set, or in a copy of their repository."""
    copies = [
        above / f'{name}{suffix}'
        for above in (folder, folder.parent)
        for name in layout.attribute_folders
        for suffix in ('', '-master', '-main')
    ]
    return folder, folder / 'attribute', folder.parent, *copies


def _mask(folder: pathlib.Path, sub: str, path: str) -> str:
    return str(folder / 'masks' / sub / (pathlib.Path(path).stem + '.png'))
