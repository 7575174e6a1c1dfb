"""WARD (Martinel & Micheloni 2012): 70 people, 3 cameras, tracks of each."""

import os
import re

from jreid.data.datasets import listing
from jreid.data.index import Splits

NAME = re.compile(r'(\d{4})(\d{4})\d{4}')
EXAMPLE = '000100010001.jpg'


def load(root: str | os.PathLike, *, split_seed: int = 0, bad_files: str = 'error') -> Splits:
    """Reads WARD: `PPPPCCCCFFFF.jpg` (person, camera, frame) right in one folder.

    It has no official split: a random half of the people (split_seed) is trained on. Of the others,
    one random image per person and camera is a query; the rest is the gallery. Counts are not
    checked, since copies differ in the frames they keep.
    """
    layout = f'images like {EXAMPLE} (person, camera, frame, four digits each) in one folder'
    folder = listing.find_images(
        root, ('ward', 'WARD', 'WARD/cropped_images'), name='WARD', layout=layout
    )
    photos = listing.scan(folder, listing.by_pattern(NAME), example=EXAMPLE, bad_files=bad_files)
    return listing.half_splits('ward', photos, split_seed=split_seed)
