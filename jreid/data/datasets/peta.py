"""PETA (Deng et al. 2014): 19,000 images with 105 binary attributes, for attribute teachers.

The images come from ten sets.
"""

import os
import pathlib
import warnings

import numpy as np

from jreid.data.datasets import listing
from jreid.data.datasets.teaching import splits_of
from jreid.data.index import Splits

COLOURS = (
    'Black',
    'Blue',
    'Brown',
    'Green',
    'Grey',
    'Orange',
    'Pink',
    'Purple',
    'Red',
    'White',
    'Yellow',
)
_BINARY = {
    'accessory': 'HairBand Hat Headphone Kerchief Muffler Nothing Sunglasses',
    'carrying': (
        'BabyBuggy Backpack Folder LuggageCase MessengerBag Nothing Other PlasticBags ShoppingTro'
        ' Suitcase Umbrella'
    ),
    'footwear': 'Boots LeatherShoes Sandals Shoes Sneaker Stocking',
    'hair': 'Bald Long Short',
    'lowerBody': (
        'Capri Casual Formal HotPants Jeans LongSkirt Plaid ShortSkirt Shorts Suits ThinStripes'
        ' Trousers'
    ),
    'personal': 'Female Larger60 Less15 Less30 Less45 Less60 Male',
    'upperBody': (
        'Casual Formal Jacket Logo LongSleeve NoSleeve Other Plaid ShortSleeve Suit Sweater'
        ' ThickStripes ThinStripes Tshirt VNeck'
    ),
}
NAMES = (
    *(f'{group}{word}' for group, words in _BINARY.items() for word in words.split()),
    *(
        f'{group}{colour}'
        for group in ('footwear', 'hair', 'lowerBody', 'upperBody')
        for colour in COLOURS
    ),
)
"""The set's 61 binary attributes, and its four colours as 11 binary attributes each."""
DISCARDED = {'accessoryFaceMask', 'accessoryShawl', 'lowerBodyLogo', 'lowerBodyThickStripes'}
"""Words of the label files that the authors left out of the set: fewer than ten images each."""
IMAGES = 19_000
SIZES = (9_500, 1_900, 7_600)
"""Numbers of training, validation and test images in each partition."""
LAYOUT = (
    '<subset>/archive/ with the images and Label.txt (a key and the words of its attributes per'
    ' line), for each of ten subsets'
)


def load(
    root: str | os.PathLike,
    *,
    partition: int = 0,
    split_seed: int = 0,
    partition_file: str | None = None,
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads PETA as a teacher's data: images and attributes, no identities.

    A label applies to the images that have its name, with or without suffix. It also applies to
    images whose name begins with it and a '_' (the person's number).

    Args:
      root: the folder that holds the subsets' folders, or the folder above it.
      partition: 0 to 4, one of five random partitions: 9,500 images to train on, 1,900 for
        validation and 7,600 to test on. An incomplete set gives half, a tenth and two fifths.
        Validation images are left out.
      split_seed: the partitions are drawn from (split_seed, partition); the authors published none.
      partition_file: lines `<subset>/<image name>,train` (or val, test) to use instead.
      expected: warn where there are not 19,000 images.
      bad_files: what to do with images without a label: 'error', or 'skip' to leave them out with a
        warning.
    """
    if not 0 <= partition < 5:
        raise ValueError(f'partition is {partition}; PETA has five, 0 to 4')
    folder = _find(root)
    paths, values = [], []
    unknown: dict[str, int] = {}
    column = {name: i for i, name in enumerate(NAMES)}
    for archive in sorted(folder.glob('*/archive')):
        labels = _labels(archive / 'Label.txt')
        names = sorted(entry for entry in os.listdir(archive) if listing.is_image(entry))
        lacking = []
        for name in names:
            stem = os.path.splitext(name)[0]
            words = next(
                (labels[key] for key in (name, stem, stem.split('_')[0]) if key in labels), None
            )
            if words is None:
                lacking.append(name)
                continue
            row = np.zeros(len(NAMES), np.float32)
            for word in words:
                if word in column:
                    row[column[word]] = 1
                elif word not in DISCARDED:
                    unknown[word] = unknown.get(word, 0) + 1
            paths.append(str(archive / name))
            values.append(row)
        listing.report_bad(lacking, len(names), archive, 'have no line in Label.txt', bad_files)
    if not paths:
        raise ValueError(f'PETA: no labelled image under {folder}. The layout: {LAYOUT}')
    if unknown:
        warnings.warn(
            f'PETA: {len(unknown)} words of the label files are no attribute of the set, e.g.'
            f' {sorted(unknown)[:3]}; they are not used',
            stacklevel=2,
        )
    if expected and len(paths) != IMAGES:
        warnings.warn(
            f'PETA has {len(paths):,} labelled images, the set {IMAGES:,}'
            f' ({len(paths) - IMAGES:+,}). For a subset pass expected=False',
            stacklevel=2,
        )
    part = (
        _read_partition(partition_file, paths)
        if partition_file
        else _draw(len(paths), partition, split_seed)
    )
    return splits_of('peta', paths, np.stack(values), NAMES, train=part == 0, test=part == 2)


def _find(root: str | os.PathLike) -> pathlib.Path:
    places = listing.places(root, ('peta', 'PETA', 'PETA dataset'))
    for place in places:
        if any(place.glob('*/archive/Label.txt')):
            return place
    looked = [(place, 'has no subset') for place in places]
    raise listing.not_found(root, looked, 'PETA', LAYOUT)


def _labels(path: pathlib.Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f'PETA: {path} is missing. The layout: {LAYOUT}')
    lines = (
        line.split() for line in path.read_text(encoding='utf-8', errors='replace').splitlines()
    )
    return {words[0]: words[1:] for words in lines if words}


def _draw(n: int, partition: int, seed: int) -> np.ndarray:
    """Draws the part of each image: 0 train, 1 validation, 2 test."""
    sizes = SIZES if n == sum(SIZES) else (n // 2, n // 10)
    order = np.random.default_rng([seed, partition]).permutation(n)
    part = np.full(n, 2)
    part[order[: sizes[0]]] = 0
    part[order[sizes[0] : sizes[0] + sizes[1]]] = 1
    return part


def _read_partition(path: str, images: list[str]) -> np.ndarray:
    numbers = {'train': 0, 'val': 1, 'test': 2}
    rows = [
        line.rsplit(',', 1) for line in pathlib.Path(path).read_text().splitlines() if line.strip()
    ]
    part_of = {row[0].strip(): row[-1].strip() for row in rows}
    keys = [
        f'{pathlib.Path(image).parent.parent.name}/{pathlib.Path(image).name}' for image in images
    ]
    wrong = [key for key in keys if part_of.get(key) not in numbers]
    if wrong:
        raise ValueError(
            f'{path}: {len(wrong):,} of {len(keys):,} images have no part, e.g. {wrong[0]!r};'
            f' expected lines like {keys[0]},train (or val, test)'
        )
    return np.asarray([numbers[part_of[key]] for key in keys])
