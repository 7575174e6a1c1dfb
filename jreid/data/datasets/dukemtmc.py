"""DukeMTMC-reID (Zheng et al. 2017; Ristani et al. 2016): 1,404 people and 408 distractors, 8 cameras."""

import os
import pathlib
import re

from jreid.data.datasets import listing, market_layout
from jreid.data.index import Splits

NAME = re.compile(r'(\d{4,})_c(\d+)_f\d+\.(?:jpg|jpeg|png)')
EXAMPLE = '0001_c2_f0046182.jpg'
FOLDER_NAMES = ('DukeMTMC-reID', 'dukemtmc-reid', 'DukeMTMC-reid', 'dukemtmc', 'duke')
COUNTS = {'train': (16522, 702), 'query': (2228, 702), 'gallery': (17661, 1110)}


def load(root: str | os.PathLike, *, attributes: bool | str | os.PathLike | None = None, expected: bool = True, bad_files: str = 'error') -> Splits:
    """Reads DukeMTMC-reID.

    Args:
      root: the set's folder, or the folder above it.
      attributes: as in `market1501.load`, 23 an identity from `duke_attribute.mat`.
      expected: warn where counts differ from the whole set's.
      bad_files: 'error' or 'skip', for empty files and names that are not the set's.
    """
    folder = listing.find_folder(
        root, FOLDER_NAMES, tuple(market_layout.FOLDERS.values()), name='DukeMTMC-reID', layout=f'bounding_box_train, query, bounding_box_test with {EXAMPLE}'
    )
    splits = market_layout.read(
        folder,
        pathlib.Path(root).expanduser(),
        name='dukemtmc',
        pattern=NAME,
        example=EXAMPLE,
        cameras=8,
        attribute_file='duke_attribute.mat',
        attributes=attributes,
        age='binary',
        bad_files=bad_files,
    )
    if expected:
        listing.check_counts(splits, COUNTS, 8)
    return splits
