r"""Duke to VIPeR, mean of 10 random splits: Wang et al. 2018 (TJ-AIDL), table 1.

Expected (paper, TJ-AIDL): rank-1 35.1.
Not run by us: the data sets are not on our machines (see docs/results.md). Split 0:

    jreid train --config=configs/duke2viper.py --workdir=runs/duke2viper-0 \
        --config.data.root=/data/reid --config.data.target_options.split=0

Splits 0 to 9 are one run each; `jreid collect runs/duke2viper-?` gives mean and deviation.
Step I is the same for every split and is trained once: a run of the variant tjaidl-no-adaptation,
then for each split --config.init.run=THAT_RUN --config.method.identity_iterations=0
--config.method.joint_iterations=0. `target_options.write_splits` writes the splits to a file, and
`split_file` reads such a file. `target_options.direction=b2a` searches for camera b's people in
camera a; collect its ten runs separately.
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'tjaidl') -> ConfigDict:
    """Returns the base config for this pair."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'dukemtmc', 'viper'
    config.data.target_options = ConfigDict(
        {'split': 0, 'split_seed': 0, 'direction': 'a2b', 'split_file': '', 'write_splits': ''}
    )
    return config
