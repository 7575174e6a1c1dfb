"""CUHK01 (Li, Zhao & Wang 2012): 971 people, two images of each from each of two cameras."""

import os
import re

from jreid.data.datasets import listing, repeated
from jreid.data.index import Splits

NAME = re.compile(r'(\d{4})(\d{3})')
EXAMPLE = '0001001.png'
SPLITS = 10


def load(
    root: str | os.PathLike,
    *,
    test_people: int = 100,
    shots: str = 'single',
    split: int = 0,
    split_seed: int = 0,
    direction: str = 'a2b',
    split_file: str | None = None,
    write_splits: str | None = None,
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads one of 10 random splits: 871 people to train on and 100 to test, or 485 and 486.

    Images 1 and 2 of a person are camera a's, 3 and 4 camera b's.

    Args:
      root: the folder campus, with images like 0001001.png (person, image), or the folder above it.
      test_people: 100 or 486.
      shots: 'single': the gallery has one random image per person, drawn from (split_seed, split).
        'all': both of them, from which `evaluation.single_shot` takes the expectation or draws.
      Others: see `jreid.data.datasets.viper.load`.
    """
    if shots not in ('single', 'all'):
        raise ValueError(
            f"shots is {shots!r}; expected 'single' (one gallery image per person) or 'all'"
        )
    layout = f'images like {EXAMPLE} (person, image) right in one folder'
    folder = listing.find_images(
        root,
        ('campus', 'cuhk01', 'CUHK01', 'CUHK01/campus', 'cuhk01/campus'),
        name='CUHK01',
        layout=layout,
    )
    photos = listing.scan(folder, _parse, example=EXAMPLE, bad_files=bad_files)
    people = {p.identity for p in photos if p.camera == 0} & {
        p.identity for p in photos if p.camera == 1
    }
    size = len(people) - test_people
    chosen = repeated.choose(
        'cuhk01',
        people,
        split=split,
        train=size,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
    )
    if expected:
        repeated.expect(
            'cuhk01',
            {'images': len(photos), 'people': len(people)},
            {'images': 3884, 'people': 971},
        )
    candidates = (
        repeated.one_each(photos, seed=split_seed, split=split) if shots == 'single' else None
    )
    return repeated.across_cameras(
        'cuhk01', photos, chosen, direction=direction, candidates=candidates
    )


def _parse(base: str) -> tuple[int, int] | None:
    match = NAME.fullmatch(base)
    return (int(match[1]), (int(match[2]) - 1) // 2) if match and 1 <= int(match[2]) <= 4 else None
