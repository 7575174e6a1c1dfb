"""Market-1501 (Zheng et al. 2015): 1,501 people, 6 cameras."""

import os
import re

from jreid.data.datasets import market_layout
from jreid.data.index import Splits

LAYOUT = market_layout.Layout(
    name='market1501',
    title='Market-1501',
    folder_names=(
        'Market-1501-v15.09.15',
        'Market-1501',
        'market1501',
        'Market1501',
        'market-1501',
    ),
    pattern=re.compile(r'(-1|\d{4,})_c(\d+)(?:\D.*)?'),
    example='0002_c1s1_000451_03.jpg',
    attribute_file='market_attribute.mat',
    attribute_folders=('Market-1501_Attribute',),
    # The gallery's identities are 750 people and 0, the distractors.
    counts={'train': (12936, 751), 'query': (3368, 750), 'gallery': (15913, 751)},
    cameras=6,
)


def load(
    root: str | os.PathLike,
    *,
    attributes: bool | str | os.PathLike | None = None,
    age: str = 'binary',
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads Market-1501.

    Args:
      root: the set's folder, or the folder above it.
      attributes: None: 27 attributes per identity where `market_attribute.mat` lies in the set's
        folder, its sub-folder `attribute` or the folder above. True: it must lie there. False:
        none. Otherwise its path. Distractors have a row of NaN.
      age: 'binary', 'scaled' or 'levels', see `jreid.data.datasets.attributes.read`.
      expected: warn where counts differ from the whole set's.
      bad_files: 'error' or 'skip', for empty files and names that are not the set's.
    """
    return market_layout.load(
        LAYOUT, root, attributes=attributes, age=age, expected=expected, bad_files=bad_files
    )
