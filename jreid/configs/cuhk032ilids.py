r"""CUHK03 to i-LIDS (single shot): Chen et al. 2017 (MTDnet), table 1.

Expected (paper, MTDnet / MTDnet-cross): rank-1 57.8 / 58.38.
The paper's cells are of one random split: multiples of 1/173 (232 images of 59 people, one of each
the gallery).
The authors' program tests 59 people; --config.data.target_options.test_people=60 is the other half.
Not run by us: the data sets are not on our machines (see docs/results.md). Split 0:

    jreid train --config=configs/cuhk032ilids.py:mtdnet-cross --workdir=runs/cuhk032ilids-0 \
        --config.data.root=/data/reid --config.data.target_options.split=0

Further splits, 1 to 9, are one run each; `jreid collect runs/cuhk032ilids-?` gives mean and
deviation.
The training on CUHK03 is the same for every split and is done once: a run with
--config.method.target_iterations=0, then for each split --config.init.run=THAT_RUN
--config.method.source_iterations=0.
"""

from ml_collections import ConfigDict

from jreid.configs import base, cuhk03


def get_config(variant: str = 'mtdnet') -> ConfigDict:
    """Returns the base config for this pair: 60 people to train on, 59 to search for."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'cuhk03', 'ilids'
    config.data.source_options = ConfigDict(cuhk03.CLASSIC)
    config.data.target_options = ConfigDict(
        {
            'split': 0,
            'split_seed': 0,
            'test_people': 59,
            'split_file': '',
            'write_splits': '',
        }
    )
    return config
