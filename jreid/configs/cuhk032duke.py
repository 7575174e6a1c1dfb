r"""CUHK03 to Duke with ResNet-50: Huang et al. 2020, table 5.

Expected (paper, PTL+SSG): rank-1 75.6, mAP 58.5.
Not run by us: the data sets are not on our machines (see docs/results.md).

    jreid train --config=configs/cuhk032duke.py:ptl-ssg --workdir=runs/cuhk032duke \
        --config.data.root=/data/reid --config.data.target_teacher=labels/cuhk032duke

`configs/teacher_parsing.py` and `configs/teacher_attributes.py` say how the labels are made.
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'ptl-ssg') -> ConfigDict:
    """Returns the base config for this pair: CUHK03 with detected boxes, in the new protocol."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'cuhk03', 'dukemtmc'
    config.data.source_options = ConfigDict({'images': 'detected', 'protocol': 'new'})
    return config
