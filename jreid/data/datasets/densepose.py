"""COCO DensePose (Guler et al. 2018): crops of people with part masks, for parsing teachers."""

import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from jreid.data.datasets import listing
from jreid.data.datasets.teaching import splits_of
from jreid.data.index import Splits
from jreid.files import cache_folder, replacing
from jreid.imaging import upright

ANNOTATIONS = {
    'train': 'densepose_coco_2014_train.json',
    'test': 'densepose_coco_2014_minival.json',
}
LAYOUT = (
    f'annotations/ with {" and ".join(ANNOTATIONS.values())}, train2014/ and val2014/ with the'
    ' images'
)
SIDE = 256
"""Height and width of the set's part masks, which span a person's box."""
CLASSES = np.array([0, 2, 4, 4, 7, 7, 5, 5, 6, 6, 3, 3, 4, 4, 1], np.uint8)
"""The class of `jreid.evaluation.parsing`, of 8, for each of the set's 14 parts.

0 is the background; the parts are torso, hands, feet, upper legs, lower legs, upper arms, lower
arms and head.
"""
VERSION = 2


def load(
    root: str | os.PathLike,
    *,
    min_height: int = 64,
    crops: str | None = None,
    pack_folder: str | None = None,
    progress: bool = True,
) -> Splits:
    """Cuts people with part masks out of COCO's images, once, and reads the crops.

    Args:
      root: the folder that holds annotations, train2014 and val2014, or the folder above it.
      min_height: smallest height of a person's box in pixels; smaller people are left out.
      crops: where the crops are kept; None for `pack_folder/densepose`.
      pack_folder: where packs are kept; None for the user's cache folder.
      progress: show a bar while cutting.
    """
    needed = tuple(f'annotations/{name}' for name in ANNOTATIONS.values())
    folder = listing.find_folder(
        root, ('coco', 'COCO'), needed, name='COCO DensePose', layout=LAYOUT
    )
    digest = hashlib.sha256(f'{VERSION} {folder} {min_height}'.encode())
    for name in needed:
        status = os.stat(folder / name)
        digest.update(f'{status.st_size} {status.st_mtime_ns}'.encode())
    kept = pathlib.Path(pack_folder).expanduser().absolute() if pack_folder else cache_folder()
    place = pathlib.Path(crops).expanduser().absolute() if crops else kept / 'densepose'
    place /= digest.hexdigest()[:16]
    if not place.is_dir():
        _cut_all(folder, place, min_height, progress)
    paths, masks, trained = [], [], []
    for part in ANNOTATIONS:
        for path in sorted((place / part).glob('*.jpg')):
            paths.append(str(path))
            masks.append(str(path.with_suffix('.png')))
            trained.append(part == 'train')
    train = np.asarray(trained, bool)
    return splits_of('densepose', paths, None, (), train=train, test=~train, masks=masks)


def _cut_all(folder: pathlib.Path, place: pathlib.Path, min_height: int, progress: bool) -> None:
    """Writes crops (.jpg) and masks (.png) of both parts; a folder that exists is complete."""
    try:
        with replacing(place) as fresh:
            for part, name in ANNOTATIONS.items():
                (fresh / part).mkdir(parents=True)
                try:
                    _cut(
                        folder,
                        json.loads((folder / 'annotations' / name).read_text()),
                        fresh / part,
                        min_height,
                        progress,
                    )
                except (
                    ValueError,
                    KeyError,
                    IndexError,
                    TypeError,
                    AttributeError,
                    OverflowError,
                ) as error:
                    raise ValueError(
                        f'{folder / "annotations" / name} cannot be used: {type(error).__name__}'
                        f' {error}'
                    ) from error
    except OSError:
        # Another process may have been first; its crops are the same.
        if not place.is_dir():
            raise


def _cut(
    folder: pathlib.Path,
    annotation: dict[str, Any],
    out: pathlib.Path,
    min_height: int,
    progress: bool,
) -> None:
    files = {image['id']: image['file_name'] for image in annotation['images']}
    people: dict[int, list[dict[str, Any]]] = {}
    for person in annotation['annotations']:
        if person.get('dp_masks') and person['bbox'][3] >= min_height:
            people.setdefault(person['image_id'], []).append(person)
    for number, group in tqdm(
        sorted(people.items()),
        desc=f'cutting {out.name}',
        unit='image',
        disable=None if progress else True,
    ):
        name = files[number]
        places = [listing.inside(folder / sub, name) for sub in ('train2014', 'val2014', 'images')]
        if None in places:
            raise ValueError(
                f'the image {name!r} leads out of its folder or holds control characters; expected'
                ' the name of a file'
            )
        path = next((place for place in places if place and os.path.isfile(place)), None)
        if path is None:
            raise FileNotFoundError(
                f'COCO DensePose: the image {name} is in none of train2014, val2014. The layout:'
                f' {LAYOUT}'
            )
        with Image.open(path) as image:
            whole = upright(image)
        for person in group:
            left, top, width, height = person['bbox']
            box = (
                max(round(left), 0),
                max(round(top), 0),
                min(round(left + width), whole.width),
                min(round(top + height), whole.height),
            )
            if box[2] - box[0] < 2 or box[3] - box[1] < 2:
                continue
            crop = whole.crop(box)
            mask = Image.fromarray(part_mask(person['dp_masks'])).resize(
                crop.size, Image.Resampling.NEAREST
            )
            crop.save(out / f'{person["id"]:012d}.jpg', quality=95)
            mask.save(out / f'{person["id"]:012d}.png')


def part_mask(encoded: list[Any]) -> np.ndarray:
    """Returns the mask uint8 [256, 256] of the 8 classes from a person's 14 encoded masks.

    An empty entry means that the part is not visible.
    """
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for part, code in enumerate(encoded, start=1):
        if code:
            mask[decode_runs(code['counts'], code['size'])] = CLASSES[part]
    return mask


def decode_runs(counts: str | list[int], size: tuple[int, int]) -> np.ndarray:
    """Decodes COCO's run lengths, a list or the packed string, to a bool mask.

    The runs are of zeros and ones in turn, down the columns. In the string, each number is split
    into groups of 5 bits, lowest first, one character (code 48 + bits) per group. Bit 6 means that
    another group follows; the highest bit of the last group is the sign. From the fourth number on,
    the string holds the difference to the number two places before.

    Raises:
      ValueError: the runs do not fill the mask.
    """
    runs = list(counts) if not isinstance(counts, str) else []
    value = shift = 0
    for character in counts if isinstance(counts, str) else '':
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if sum(runs) != size[0] * size[1] or min(runs, default=0) < 0:
        raise ValueError(
            f'run lengths of {sum(runs)} pixels for a mask of {size[0]} x {size[1]}; the annotation'
            ' file is damaged'
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape((size[1], size[0])).T
