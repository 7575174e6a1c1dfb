"""DukeMTMC-reID (Zheng et al. 2017): 1,404 people and 408 distractors, 8 cameras.

The images are cut from the DukeMTMC videos of Ristani et al. 2016.
"""

import os
import re

from jreid.data.datasets import market_layout
from jreid.data.index import Splits

LAYOUT = market_layout.Layout(
    name='dukemtmc',
    title='DukeMTMC-reID',
    folder_names=('DukeMTMC-reID', 'dukemtmc-reid', 'DukeMTMC-reid', 'dukemtmc', 'duke'),
    pattern=re.compile(r'(\d{4,})_c(\d+)(?:\D.*)?'),
    example='0001_c2_f0046182.jpg',
    attribute_file='duke_attribute.mat',
    attribute_folders=('DukeMTMC-attribute',),
    counts={'train': (16522, 702), 'query': (2228, 702), 'gallery': (17661, 1110)},
    cameras=8,
)


def load(
    root: str | os.PathLike,
    *,
    attributes: bool | str | os.PathLike | None = None,
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads DukeMTMC-reID, with 23 attributes where `duke_attribute.mat` lies beside it.

    The arguments are those of `jreid.data.datasets.market1501.load`.
    """
    return market_layout.load(
        LAYOUT, root, attributes=attributes, age='binary', expected=expected, bad_files=bad_files
    )
