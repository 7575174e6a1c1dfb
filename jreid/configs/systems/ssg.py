"""SSG and SSG-dagger after the strong baseline or PTL (Huang et al. 2020, tables 2 and 5), or
after any run that `config.init.run` names.
"""

import dataclasses

from jreid.configs.systems import ptl
from jreid.methods.settings.ssg import Settings

BASE = ptl.BASE

SETTINGS = {'name': 'ssg', **dataclasses.asdict(Settings())}

DAGGER = {'rerank': False, 'source_weight': 0.0}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'bl-ssg-dagger': (DAGGER, 'BL+SSG-dagger'),
    'ptl-ssg-dagger': ({**ptl.BOTH_ON_TARGET, **DAGGER}, 'PTL+SSG-dagger'),
    'ptl-ssg': (ptl.BOTH_ON_TARGET, 'PTL+SSG'),
    'bl-ssg': ({}, 'SSG'),
    # After the run that --config.init.run names, without training on the source before.
    'ssg': ({'source_epochs': 0}, ''),
    'ssg-dagger': ({'source_epochs': 0, **DAGGER}, ''),
}
