r"""Teachers of human parsing for PTL: COCO DensePose, or the demo's synthetic masks.

Huang et al. 2020, section 3.2; person crops with 8 classes. No paper says how good its teacher was.
Not run by us on COCO: the data set is not on our machines. The demo's teacher: see docs/results.md.

    jreid train --config=configs/teacher_parsing.py --workdir=runs/coco \
        --config.data.root=/data/reid
    jreid train --config=configs/teacher_parsing.py:synthetic --workdir=runs/parsing
    jreid label --teacher=runs/parsing --config=configs/demo.py --out=labels/demo
"""

from ml_collections import ConfigDict

from jreid.configs import base, demo


def get_config(data: str = 'densepose') -> ConfigDict:
    """Returns the config of a parsing teacher on 'densepose' or 'synthetic'."""
    return teacher('teacher-parsing', data, known=('densepose', 'synthetic'))


def teacher(variant: str, data: str, *, known: tuple[str, ...]) -> ConfigDict:
    """Returns the config of a teacher that is trained on `data`.

    The synthetic one is trained on a third domain, neither the demo's source nor its target.

    Raises:
      ValueError: there is no such data.
    """
    if data not in known:
        raise ValueError(f"there is no teacher for '{data}'; there are: {', '.join(known)}")
    if data == 'synthetic':
        config = demo.get_config(variant)
        # The demo's target shows how well the teacher does there; nothing is trained or chosen on
        # it.
        config.data.source_options = ConfigDict(
            {'domain': 'station', 'identities': 128, 'test_identities': 16}
        )
        return config
    config = base.get_config(variant)
    config.data.source = config.data.target = data
    return config
