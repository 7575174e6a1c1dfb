"""GRID (Loy, Xiang & Gong 2009): 250 people in two of 8 cameras each, and 775 distractors.

The images come from cameras in an underground station (QMUL).
"""

import dataclasses
import os
import pathlib
import re

import numpy as np

from jreid.data.datasets import listing, repeated
from jreid.data.index import Splits

NAME = re.compile(r'(\d{4})_(\d+)(?:_.*)?')
EXAMPLE = '0001_1_25004_107_32_106_221.jpeg'
FOLDERS = ('probe', 'gallery')
CAMERAS = 8
SPLITS = 10
PARTITIONS = 'features_and_partitions.mat'


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
    distractors. Distractors have identity 0 and are not trained on. The splits are the authors',
    from features_and_partitions.mat beside the folders, and drawn here where that is missing.

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
        listing.scan(
            folder / sub, listing.by_pattern(NAME, CAMERAS), example=EXAMPLE, bad_files=bad_files
        )
        for sub in FOLDERS
    )
    both = {p.identity for p in probe if p.identity > 0} & {p.identity for p in gallery}
    partitions = folder / PARTITIONS
    authors = _authors(partitions, both) if partitions.is_file() else []
    chosen = repeated.choose(
        'grid',
        both,
        split=split,
        train=len(both) // 2,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
        authors=authors,
    )
    if expected:
        repeated.expect(
            'grid',
            {'probes': len(probe), 'gallery images': len(gallery), 'people': len(both)},
            {'probes': 250, 'gallery images': 1025, 'people': 250},
        )
    train, test = set(chosen.train), set(chosen.test)
    splits = repeated.assemble(
        'grid',
        train=[p for p in (*probe, *gallery) if p.identity in train],
        query=[p for p in probe if p.identity in test],
        gallery=[p for p in gallery if p.identity in test or p.identity == 0],
    )
    if authors and not split_file:
        splits = dataclasses.replace(
            splits, notes=(f"the authors' split {split}, of {partitions}",)
        )
    return splits


def _authors(path: pathlib.Path, people: set[int]) -> list[repeated.Split]:
    """Returns the authors' splits: `trainIdxAll`, a cell of structs with the people in `personIdx`.

    Raises:
      ValueError: the file is not theirs, or names people whom the folders lack.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=['trainIdxAll'], squeeze_me=True)['trainIdxAll']
        trained = [
            {int(i) for i in np.atleast_1d(part['personIdx'][()])} for part in content.ravel()
        ]
    # The parser raises errors of many types for a damaged file.
    except Exception as error:
        raise ValueError(
            f'{path} cannot be read: {type(error).__name__} {error}; expected the partitions of'
            ' GRID, a cell trainIdxAll of structs with personIdx. Where it is damaged, remove it:'
            ' splits are drawn then'
        ) from error
    if strangers := sorted(set().union(*trained) - people):
        raise ValueError(
            f'{path} names {len(strangers):,} people who are not in both folders, e.g.'
            f' {strangers[:5]}'
        )
    return [repeated.Split(tuple(sorted(t)), tuple(sorted(people - t))) for t in trained]
