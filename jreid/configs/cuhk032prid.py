r"""CUHK03 to PRID2011 (single shot): Chen et al. 2017 (MTDnet), table 1.

Expected (paper, MTDnet / MTDnet-cross): rank-1 32.0 / 31.0.
The paper's cells are of one random split: multiples of 1/100 (100 queries).
Not run by us: the data sets are not on our machines (see docs/results.md). Split 0:

    jreid train --config=configs/cuhk032prid.py:mtdnet-cross --workdir=runs/cuhk032prid-0 \
        --config.data.root=/data/reid --config.data.target_options.split=0

Further splits, 1 to 9, are one run each; `jreid collect runs/cuhk032prid-?` gives mean and
deviation.
The training on CUHK03 is the same for every split and is done once: a run with
--config.method.target_iterations=0, then for each split --config.init.run=THAT_RUN
--config.method.source_iterations=0.
"""

from ml_collections import ConfigDict

from jreid.configs import base, cuhk03


def get_config(variant: str = 'mtdnet') -> ConfigDict:
    """Returns the base config for this pair: 100 people to train on, 100 to search for."""
    config = base.get_config(variant)
    # The 100 people are searched for from camera A among 649 of camera B.
    config.data.source, config.data.target = 'cuhk03', 'prid2011'
    config.data.source_options = ConfigDict(cuhk03.CLASSIC)
    config.data.target_options = ConfigDict(
        {'split': 0, 'split_seed': 0, 'split_file': '', 'write_splits': ''}
    )
    return config
