r"""CUHK03 to CUHK01 (single shot): Chen et al. 2017 (MTDnet), table 1.

Expected (paper, MTDnet / MTDnet-cross): rank-1 77.5 / 78.5.
The paper's cells are of one random split: multiples of 1/200 (two images of each of 100 people).
Not run by us: the data sets are not on our machines (see docs/results.md). Split 0:

    jreid train --config=configs/cuhk032cuhk01.py:mtdnet-cross --workdir=runs/cuhk032cuhk01-0 \
        --config.data.root=/data/reid --config.data.target_options.split=0

Further splits, 1 to 9, are one run each. The paper's protocol is the summary's single-shot row,
which `jreid reproduce --table=mtdnet-1 --seeds=10` averages; the rows above it have both gallery
images.
The training on CUHK03 is the same for every split and is done once: a run with
--config.method.target_iterations=0, then for each split --config.init.run=THAT_RUN
--config.method.source_iterations=0. For 485/486 people:
--config.data.target_options.test_people=486.
"""

from ml_collections import ConfigDict

from jreid.configs import base, cuhk03


def get_config(variant: str = 'mtdnet') -> ConfigDict:
    """Returns the base config for this pair: 871 people to train on, 100 to search for."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'cuhk03', 'cuhk01'
    config.data.source_options = ConfigDict(cuhk03.CLASSIC)
    # All gallery images: the single-shot row is the expectation over one image per person.
    config.data.target_options = ConfigDict(
        {
            'test_people': 100,
            'shots': 'all',
            'split': 0,
            'split_seed': 0,
            'split_file': '',
            'write_splits': '',
        }
    )
    return config
