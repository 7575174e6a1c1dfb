"""PKU-Reid (Ma et al. 2016): 114 people, 2 cameras, 8 orientations of each in each."""

import os
import re

from jreid.data.datasets import listing
from jreid.data.index import Splits

NAME = re.compile(r'(\d{3})_(\d{2})_\d')
EXAMPLE = '001_01_1.jpg'


def load(root: str | os.PathLike, *, split_seed: int = 0, bad_files: str = 'error') -> Splits:
    """Reads PKU-Reid: `PPP_CC_O.jpg` (person, camera, orientation) right in one folder.

    It is split as in `jreid.data.datasets.ward`: half of the people for training. Of the others,
    one random orientation per person and camera is a query; the other seven are the gallery. Counts
    are not checked, since copies differ in the people they hold.
    """
    layout = f'images like {EXAMPLE} (person, camera, orientation) in one folder'
    folder = listing.find_images(
        root,
        ('PKUv1a_128x48', 'PKU-Reid-Dataset/PKUv1a_128x48', 'pku', 'PKU-Reid'),
        name='PKU-Reid',
        layout=layout,
    )
    photos = listing.scan(folder, listing.by_pattern(NAME), example=EXAMPLE, bad_files=bad_files)
    return listing.half_splits('pku', photos, split_seed=split_seed)
