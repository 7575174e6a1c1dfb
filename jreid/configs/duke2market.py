r"""Duke to Market with ResNet-50: Wang & Hu 2020, table 2.

Expected (paper, DMTNet): rank-1 71.5, mAP 42.3.
TJ-AIDL with MobileNet (`:tjaidl`; Wang et al. 2018, table 2): rank-1 58.2, mAP 26.5.
Not run by us: the data sets are not on our machines (see docs/results.md).

    jreid train --config=configs/duke2market.py --workdir=runs/duke2market \
        --config.data.root=/data/reid
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'dmtnet') -> ConfigDict:
    """Returns the base config for this pair."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'dukemtmc', 'market1501'
    return config
