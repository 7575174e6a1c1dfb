"""CUHK03 by itself, single shot: Chen et al. 2017 (MTDnet), table 1.

Expected (paper, MTDnet): rank-1 74.68.
Not run by us: the data set is not on our machines (see docs/results.md).

    jreid train --config=configs/cuhk03.py --workdir=runs/cuhk03 --config.data.root=/data/reid

1,160 people are trained on and 100 searched for. Source and target are one set in one split, so
that what is trained on the source is measured on people that it has not seen. The paper's protocol
is the summary's single-shot row, the expectation over galleries of one image per person; the rows
above it have all images of the gallery.
"""

from ml_collections import ConfigDict

from jreid.configs import base

CLASSIC = {
    'images': 'labeled',
    'protocol': 'classic',
    'pairs': 3,
    'test_people': 100,
    'validation_people': 100,
}


def get_config(variant: str = 'mtdnet') -> ConfigDict:
    """Returns the base config for this set; MTDnet ends with its training on the source."""
    config = base.get_config(variant, mtdnet={'target_iterations': 0})
    config.data.source = config.data.target = 'cuhk03'
    config.data.source_options = ConfigDict({**CLASSIC, 'split': 0})
    config.data.target_options = ConfigDict({**CLASSIC, 'split': 0, 'shots': 'all'})
    return config
