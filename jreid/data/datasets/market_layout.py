"""The layout of Market-1501, which DukeMTMC-reID and the synthetic set share."""

import os
import pathlib
import re

from jreid.data.datasets import attributes as annotation
from jreid.data.datasets import listing
from jreid.data.index import Splits

FOLDERS = {'train': 'bounding_box_train', 'query': 'query', 'gallery': 'bounding_box_test'}


def read(
    folder: pathlib.Path,
    root: pathlib.Path,
    *,
    name: str,
    pattern: re.Pattern[str],
    example: str,
    cameras: int | None,
    attribute_file: str,
    attributes: bool | str | os.PathLike | None,
    age: str,
    bad_files: str,
    masks: bool = False,
) -> Splits:
    """Reads the three folders. Junk (-1) is left out; distractors (0) stay in the gallery; neither is trained on.

    Args:
      folder: has the three folders; root: where the annotation file may lie too.
      pattern: of a whole base name, with the identity and the camera, from 1, as its groups.
      cameras: a larger number than that is no camera; None for any number.
      masks: part masks lie in masks/<folder>/<name>.png.
    """

    def parse(base: str) -> tuple[int, int] | None:
        match = pattern.fullmatch(base)
        if not match or not 1 <= int(match[2]) <= (cameras or int(match[2])):
            return None
        return int(match[1]), int(match[2]) - 1

    layout = f'{", ".join(FOLDERS.values())} with images like {example}'
    path = annotation.find(attributes, attribute_file, (folder, folder / 'attribute', folder.parent, root))
    tables = annotation.read(path, age=age) if path else (None, None)
    parts = {}
    for split, sub in FOLDERS.items():
        lowest = 0 if split == 'gallery' else 1
        photos = [p for p in listing.scan(folder / sub, parse, example=example, bad_files=bad_files) if p.identity >= lowest]
        listing.require_images(photos, name=name, split=split, where=folder / sub, layout=layout)
        mask_of = {p.path: _mask(folder, sub, p.path) for p in photos} if masks else None
        parts[split] = listing.build(photos, dense=split == 'train', table=tables[split != 'train'], masks=mask_of)
    return Splits(name=name, has_cameras=True, **parts)


def _mask(folder: pathlib.Path, sub: str, path: str) -> str:
    return str(folder / 'masks' / sub / (pathlib.Path(path).stem + '.png'))
