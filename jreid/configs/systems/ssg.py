"""SSG and SSG-dagger after the strong baseline, PTL (Huang et al. 2020, tables 2 and 5) or any run.

`config.init.run` names the run.
"""

from jreid.configs.systems import System, Variant, ptl
from jreid.methods.settings.ssg import Settings

DAGGER = {'rerank': False, 'source_weight': 0.0}

SYSTEM = System(
    name='ssg',
    settings=Settings,
    paper='PTL',
    reference='Fu et al. 2019, Self-similarity grouping',
    variants={
        'bl-ssg-dagger': Variant(DAGGER, 'BL+SSG-dagger'),
        'ptl-ssg-dagger': Variant({**ptl.BOTH_ON_TARGET, **DAGGER}, 'PTL+SSG-dagger'),
        'ptl-ssg': Variant(ptl.BOTH_ON_TARGET, 'PTL+SSG'),
        'ptl-ssg-split': Variant({**ptl.BOTH_ON_TARGET, 'batch_norm': 'split'}),
        'bl-ssg': Variant(row='SSG'),
        # After the run that --config.init.run names, without training on the source before.
        'ssg': Variant({'source_epochs': 0}),
        'ssg-dagger': Variant({'source_epochs': 0, **DAGGER}),
    },
    base=ptl.BASE,
)
