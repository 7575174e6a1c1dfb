r"""Market to Duke with ResNet-50: Wang & Hu 2020, table 1.

Expected (paper, DMTNet): rank-1 72.9, mAP 53.8.
TJ-AIDL with MobileNet (`:tjaidl`; Wang et al. 2018, table 2): rank-1 44.3, mAP 23.0.
Not run by us: the data sets are not on our machines (see docs/results.md).

    jreid train --config=configs/market2duke.py --workdir=runs/market2duke \
        --config.data.root=/data/reid
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'dmtnet') -> ConfigDict:
    """Returns the base config for this pair."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'market1501', 'dukemtmc'
    return config
