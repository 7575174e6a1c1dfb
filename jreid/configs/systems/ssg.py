"""SSG and SSG-dagger after the strong baseline, PTL (Huang et al. 2020, tables 2 and 5) or any run.

`config.init.run` names the run.
"""

from jreid.configs.systems import System, Variant, ptl
from jreid.methods.settings.ssg import Settings

DAGGER = {'rerank': False, 'source_weight': 0.0}

# The authors' program (github.com/OasisYang/SSG), which Fu et al.'s numbers are of.
AUTHORS = {
    'pooling': 'average',
    'round_epochs': 70,
    # It shows 4 images of every cluster per epoch; about 640 clusters, 32 per step.
    'round_steps': 20,
    'group_identities': 32,
    'group_optimizer': 'sgd',
    'group_learning_rate': 6e-5,
    'group_margin': 0.5,
    'group_triplets': 'group',
    'joint_width': 2048,
    'joint_of': 'whole',
    'mirror': True,
    'unit_length': 'all',
    'noise': 'image',
}
AUTHORS_BASE = {
    'model.options': {'last_stride': 2},
    'augment.colour_jitter': (0.0, 0.0, 0.0),
    'augment.erase_probability': 0.5,
    'augment.erase_area': (0.02, 0.2),
}

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
        'bl-ssg': Variant(),
        'ssg-2019': Variant(AUTHORS, 'SSG', AUTHORS_BASE),
        # After the run that --config.init.run names, without training on the source before.
        'ssg': Variant({'source_epochs': 0}),
        'ssg-dagger': Variant({'source_epochs': 0, **DAGGER}),
    },
    base=ptl.BASE,
)
