r"""Teachers of attributes for PTL: PETA, RAP, or the demo's synthetic set.

Huang et al. 2020, sections 3.2 and 4.4. No paper says how good its teacher was. Not run by us on
PETA and RAP: the data sets are not on our machines. The demo's teacher: see docs/results.md.

    jreid train --config=configs/teacher_attributes.py --workdir=runs/peta \
        --config.data.root=/data/reid
    jreid train --config=configs/teacher_attributes.py:rap --workdir=runs/rap \
        --config.data.root=/data/reid
    jreid train --config=configs/teacher_attributes.py:synthetic --workdir=runs/attributes
    jreid label --teacher=runs/attributes --config=configs/demo.py --out=labels/demo

PETA's five partitions: --config.data.source_options.partition=0 to 4, and the same for
target_options.
"""

from ml_collections import ConfigDict

from jreid.configs.teacher_parsing import teacher


def get_config(data: str = 'peta') -> ConfigDict:
    """Returns the config of an attribute teacher on 'peta', 'rap' or 'synthetic'."""
    config = teacher('teacher-attributes', data, known=('peta', 'rap', 'synthetic'))
    if data != 'synthetic':
        config.data.source_options = ConfigDict({'partition': 0})
        config.data.target_options = ConfigDict({'partition': 0})
    return config
