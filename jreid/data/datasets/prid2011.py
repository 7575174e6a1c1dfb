"""PRID2011 (Hirzer et al. 2011), single shot: 385 people in camera A, 749 in camera B.

The first 200 of each are the same people.
"""

import os
import re

from jreid.data.datasets import listing, repeated
from jreid.data.index import Splits

NAME = re.compile(r'person_(\d{4})')
EXAMPLE = 'person_0001.png'
CAMERAS = ('cam_a', 'cam_b')
SHARED = 200
SPLITS = 10


def load(
    root: str | os.PathLike,
    *,
    split: int = 0,
    split_seed: int = 0,
    split_file: str | None = None,
    write_splits: str | None = None,
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads one of 10 random splits: 100 people to train on and 100 to test.

    Both come from people 1 to 200. Queries are the test people in camera A. The gallery is camera B
    without the people trained on: 649 people. A number above 200 means one person in camera A and
    another in camera B. Those of camera A are not used; those of camera B are in every gallery.

    Args:
      root: the folder single_shot, with cam_a and cam_b, or the folder above it.
      Others: see `jreid.data.datasets.viper.load`.
    """
    layout = f'{" and ".join(CAMERAS)} (in single_shot) with images like {EXAMPLE}'
    names = (
        'single_shot',
        'prid_2011/single_shot',
        'PRID2011/single_shot',
        'prid2011/single_shot',
        'prid2011',
        'prid_2011',
        'PRID2011',
    )
    folder = listing.find_folder(root, names, CAMERAS, name='PRID2011', layout=layout)
    sides = [
        listing.scan(folder / sub, _parser(camera), example=EXAMPLE, bad_files=bad_files)
        for camera, sub in enumerate(CAMERAS)
    ]
    if not sides[0] and any((folder / CAMERAS[0]).glob('person_*/')):
        raise ValueError(
            f'{folder} holds tracks of people (multi_shot); this reader takes the folder'
            ' single_shot beside it'
        )
    both = (
        {p.identity for p in sides[0]} & {p.identity for p in sides[1]} & set(range(1, SHARED + 1))
    )
    chosen = repeated.choose(
        'prid2011',
        both,
        split=split,
        train=len(both) // 2,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
    )
    if expected:
        counts = {
            'images of camera A': len(sides[0]),
            'images of camera B': len(sides[1]),
            'people of both': len(both),
        }
        repeated.expect(
            'prid2011',
            counts,
            {'images of camera A': 385, 'images of camera B': 749, 'people of both': SHARED},
        )
    train, test = set(chosen.train), set(chosen.test)
    return repeated.assemble(
        'prid2011',
        train=[p for side in sides for p in side if p.identity in train],
        query=[p for p in sides[0] if p.identity in test],
        gallery=[p for p in sides[1] if p.identity in test or p.identity > SHARED],
    )


def _parser(camera: int):
    def parse(base: str) -> tuple[int, int] | None:
        match = NAME.fullmatch(base)
        return (int(match[1]), camera) if match and int(match[1]) > 0 else None

    return parse
