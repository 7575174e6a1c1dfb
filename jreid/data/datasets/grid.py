"""GRID (Loy, Xiang & Gong 2009): 250 people in two of 8 cameras each, and 775 distractors.

The images come from cameras in an underground station (QMUL).
"""

import os
import re

from jreid.data.datasets import listing, repeated
from jreid.data.index import Splits

NAME = re.compile(r'(\d{4})_(\d+)(?:_.*)?')
EXAMPLE = '0001_1_25004_107_32_106_221.jpeg'
FOLDERS = ('probe', 'gallery')
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
    """Reads one of 10 random splits: 125 people to train on and 125 to test.

    Queries are test people of the folder probe; the gallery is those of the folder gallery and 775
    distractors. Distractors have identity 0 and are not trained on. The splits are drawn here; the
    authors' own can be given as a split file.

    Args:
      root: the folder underground_reid, with probe and gallery, or the folder above it.
      Others: see `jreid.data.datasets.viper.load`.
    """
    layout = (
        f'{" and ".join(FOLDERS)} (in underground_reid) with images like {EXAMPLE} (person, camera)'
    )
    names = ('underground_reid', 'grid/underground_reid', 'GRID/underground_reid', 'grid', 'GRID')
    folder = listing.find_folder(root, names, FOLDERS, name='GRID', layout=layout)
    probe, gallery = (
        listing.scan(folder / sub, listing.by_pattern(NAME), example=EXAMPLE, bad_files=bad_files)
        for sub in FOLDERS
    )
    both = {p.identity for p in probe if p.identity > 0} & {p.identity for p in gallery}
    chosen = repeated.choose(
        'grid',
        both,
        split=split,
        train=len(both) // 2,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
    )
    if expected:
        repeated.expect(
            'grid',
            {'probes': len(probe), 'gallery images': len(gallery), 'people': len(both)},
            {'probes': 250, 'gallery images': 1025, 'people': 250},
        )
    train, test = set(chosen.train), set(chosen.test)
    return repeated.assemble(
        'grid',
        train=[p for p in (*probe, *gallery) if p.identity in train],
        query=[p for p in probe if p.identity in test],
        gallery=[p for p in gallery if p.identity in test or p.identity == 0],
    )
