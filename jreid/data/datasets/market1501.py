"""Market-1501 (Zheng et al. 2015): 1,501 people, 6 cameras."""

import os
import pathlib
import re

from jreid.data.datasets import listing, market_layout
from jreid.data.index import Splits

NAME = re.compile(r'(-1|\d{4,})_c(\d+)s\d+_\d+_\d+\.(?:jpg|jpeg|png)')
EXAMPLE = '0002_c1s1_000451_03.jpg'
FOLDER_NAMES = ('Market-1501-v15.09.15', 'Market-1501', 'market1501', 'Market1501', 'market-1501')
COUNTS = {'train': (12936, 751), 'query': (3368, 750), 'gallery': (15913, 751)}
"""Images and identities; the gallery's identities are 750 people and 0, the distractors."""


def load(
    root: str | os.PathLike, *, attributes: bool | str | os.PathLike | None = None, age: str = 'binary', expected: bool = True, bad_files: str = 'error'
) -> Splits:
    """Reads Market-1501.

    Args:
      root: the set's folder, or the folder above it.
      attributes: None: 27 attributes an identity where `market_attribute.mat` lies in the set's folder, its sub-folder `attribute` or the folder
        above; True: it must; False: none; else its path.
      age: see `jreid.data.datasets.attributes.read`.
      expected: warn where counts differ from the whole set's.
      bad_files: 'error' or 'skip', for empty files and names that are not the set's.
    """
    folder = listing.find_folder(
        root, FOLDER_NAMES, tuple(market_layout.FOLDERS.values()), name='Market-1501', layout=f'bounding_box_train, query, bounding_box_test with {EXAMPLE}'
    )
    splits = market_layout.read(
        folder,
        pathlib.Path(root).expanduser(),
        name='market1501',
        pattern=NAME,
        example=EXAMPLE,
        cameras=6,
        attribute_file='market_attribute.mat',
        attributes=attributes,
        age=age,
        bad_files=bad_files,
    )
    if expected:
        listing.check_counts(splits, COUNTS, 6)
    return splits
