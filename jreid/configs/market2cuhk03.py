"""market to cuhk03 with ResNet-50: Huang et al. 2020, table 4, what the labels of the attribute
teacher are worth.

Expected (paper, BL+Attr^t with PETA's soft labels): rank-1 20.5, mAP 18.9. Not run by us: the data
sets are not on our machines (see the README's results). Command: python -m jreid.main
--config=configs/market2cuhk03.py:ptl-attr-t --workdir=runs/market2cuhk03
--config.data.root=/data/reid
  --config.data.target_teacher=labels/peta (:ptl-attr-t-rap with labels/rap; see
  configs/teacher_attributes.py)
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'ptl-attr-t') -> ConfigDict:
    """The base config for this pair; of CUHK03 the detected boxes in the new protocol."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'market1501', 'cuhk03'
    config.data.target_options = ConfigDict({'images': 'detected', 'protocol': 'new'})
    return config
