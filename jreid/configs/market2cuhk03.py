r"""Market to CUHK03 with ResNet-50, labels of an attribute teacher: Huang et al. 2020, table 4.

Expected (paper, BL+Attr^t with PETA's soft labels): rank-1 20.5, mAP 18.9.
Not run by us: the data sets are not on our machines (see docs/results.md).

    jreid train --config=configs/market2cuhk03.py:ptl-attr-t --workdir=runs/market2cuhk03 \
        --config.data.root=/data/reid --config.data.target_teacher=labels/peta

`:ptl-attr-t-rap` takes labels/rap; `configs/teacher_attributes.py` says how the labels are made.
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'ptl-attr-t') -> ConfigDict:
    """Returns the base config for this pair: CUHK03 with detected boxes, in the new protocol."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'market1501', 'cuhk03'
    config.data.target_options = ConfigDict({'images': 'detected', 'protocol': 'new'})
    return config
