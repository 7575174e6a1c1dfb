"""Teachers of human parsing for PTL (Huang et al. 2020, section 3.2): COCO DensePose person crops,
8 classes; or the synthetic set's masks, for the demo.

No paper says how good its teacher was. Not run by us on COCO: the data set is not on our machines.
The demo's teacher: see the README's results. Commands:
  python -m jreid.main --config=configs/teacher_parsing.py --workdir=runs/parsing
  --config.data.root=/data/reid python -m jreid.main --config=configs/teacher_parsing.py:synthetic
  --workdir=runs/parsing python -m jreid.commands.label --teacher=runs/parsing
  --config=configs/demo.py --out=labels/demo
"""

from ml_collections import ConfigDict

from jreid.configs import base, demo


def get_config(data: str = 'densepose') -> ConfigDict:
    """The config of a parsing teacher on 'densepose' or 'synthetic'."""
    return teacher('teacher-parsing', data, known=('densepose', 'synthetic'))


def teacher(variant: str, data: str, *, known: tuple[str, ...]) -> ConfigDict:
    """A teacher trained on `data`; the synthetic one on a third domain, neither the demo's source
    nor its target.

    Raises:
      ValueError: no such data.
    """
    if data not in known:
        raise ValueError(f"there is no teacher for '{data}'; there are: {', '.join(known)}")
    if data == 'synthetic':
        config = demo.get_config(variant)
        # The demo's target is there to show how well the teacher does on it; nothing is trained or
        # chosen on it.
        config.data.source_options = ConfigDict(
            {'domain': 'station', 'identities': 128, 'test_identities': 16}
        )
        config.method.batch = 64
        config.augment.erase_probability = 0.0
        return config
    config = base.get_config(variant)
    config.data.source = config.data.target = data
    return config
