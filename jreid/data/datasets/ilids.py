"""i-LIDS (Zheng, Gong & Xiang 2009): 119 people in an airport, 476 images, unknown cameras.

QMUL distributes this set.
"""

import os
import re

from jreid.data.datasets import listing, repeated
from jreid.data.index import Splits

NAME = re.compile(r'(\d{4})(\d{3,4})')
EXAMPLE = '0001001.jpg'
SPLITS = 10


def load(
    root: str | os.PathLike,
    *,
    split: int = 0,
    split_seed: int = 0,
    test_people: int = 60,
    split_file: str | None = None,
    write_splits: str | None = None,
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads one of 10 random splits: half of the people (59) to train on, the others (60) to test.

    One random image per test person is the gallery; the rest are queries. The cameras are unknown,
    so the evaluation does not exclude gallery images by camera. The gallery's images are drawn from
    (split_seed, split) and written to the file of splits, since another reader could not draw them
    again. If a split file names none, they are drawn here.

    Args:
      root: the folder Persons of i-LIDS_Pedestrian, with images like 0001001.jpg (person, image),
        or a folder above it.
      test_people: of the 119, 60 or, the other way round, 59 (Chen et al. 2017, MTDnet); of another
        number of people half, rounded up or down.
      Others: see `jreid.data.datasets.viper.load`.

    Raises:
      ValueError: also where `test_people` is neither, or where the gallery of a split file does not
        show each test person once.
    """
    if test_people not in (59, 60):
        raise ValueError(
            f'test_people of i-LIDS is {test_people}; its 119 people are split in half, expected 60'
            ' or 59 to test'
        )
    layout = f'images like {EXAMPLE} (person, image) right in one folder'
    folder = listing.find_images(
        root,
        ('i-LIDS_Pedestrian/Persons', 'Persons', 'i-LIDS_Person', 'ilids', 'iLIDS', 'i-LIDS'),
        name='i-LIDS',
        layout=layout,
    )
    photos = listing.scan(folder, _parse, example=EXAMPLE, bad_files=bad_files)
    people = {p.identity for p in photos}

    def gallery_of(drawn: repeated.Split, number: int) -> list[listing.Photo]:
        return repeated.one_each(
            [p for p in photos if p.identity in set(drawn.test)], seed=split_seed, split=number
        )

    chosen = repeated.choose(
        'ilids',
        people,
        split=split,
        train=(len(people) + (test_people == 59)) // 2,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
        gallery_of=gallery_of,
    )
    if expected:
        repeated.expect(
            'ilids', {'images': len(photos), 'people': len(people)}, {'images': 476, 'people': 119}
        )
    train, test = set(chosen.train), set(chosen.test)
    tested = [p for p in photos if p.identity in test]
    gallery = {p for p in tested if os.path.basename(p.path) in set(chosen.gallery)}
    if sorted(p.identity for p in gallery) != sorted(chosen.test) or len(gallery) < len(
        chosen.gallery
    ):
        raise ValueError(
            f'{split_file}, split {split}: its gallery of {len(chosen.gallery):,} images does not'
            f' show each of the {len(test):,} test people once, e.g. {list(chosen.gallery[:3])};'
            f' {len(gallery):,} of them are test images of the set'
        )
    return repeated.assemble(
        'ilids',
        train=[p for p in photos if p.identity in train],
        query=[p for p in tested if p not in gallery],
        gallery=[p for p in tested if p in gallery],
        has_cameras=False,
    )


def _parse(base: str) -> tuple[int, int] | None:
    match = NAME.fullmatch(base)
    return (int(match[1]), -1) if match else None
