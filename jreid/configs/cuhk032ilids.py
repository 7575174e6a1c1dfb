r"""CUHK03 to i-LIDS (single shot), mean of 10 random splits: Chen et al. 2017 (MTDnet), table 1.

Expected (paper, MTDnet / MTDnet-cross): rank-1 57.8 / 58.38.
Not run by us: the data sets are not on our machines (see docs/results.md). Split 0:

    jreid train --config=configs/cuhk032ilids.py:mtdnet-cross --workdir=runs/cuhk032ilids-0 \
        --config.data.root=/data/reid --config.data.target_options.split=0

Splits 0 to 9 are one run each; `jreid collect runs/cuhk032ilids-?` gives mean and deviation.
The training on CUHK03 is the same for every split and is done once: a run with
--config.method.target_iterations=0, then for each split --config.init.run=THAT_RUN
--config.method.source_iterations=0.
"""

from ml_collections import ConfigDict

from jreid.configs import base, cuhk03


def get_config(variant: str = 'mtdnet') -> ConfigDict:
    """Returns the base config for this pair: 59 people to train on, 60 to search for."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'cuhk03', 'ilids'
    config.data.source_options = ConfigDict(cuhk03.CLASSIC)
    config.data.target_options = ConfigDict(
        {'split': 0, 'split_seed': 0, 'split_file': '', 'write_splits': ''}
    )
    return config
