"""SSG and SSG-dagger after the strong baseline, PTL (Huang et al. 2020, tables 2 and 5) or any run.

`config.init.run` names the run.
"""

from jreid.configs.systems import System, Variant, ptl
from jreid.methods.settings.ssg import Settings

# PTL shares all layers between the domains, on every pair.
ON_PTL = {**ptl.BOTH_ON_TARGET, 'batch_norm': 'joint'}
DAGGER = {'rerank': False, 'source_weight': 0.0}

# The authors' program (github.com/OasisYang/SSG), which Fu et al.'s numbers are of: its rounds,
# with the defaults that pairs edit. The training on the source before them is the pair's.
AUTHORS = {
    'pooling': 'average',
    'batch_norm': 'joint',
    'cluster_centring': 'none',
    'rho': 1.6e-3,
    'rounds': 30,
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
        'ptl-ssg-dagger': Variant({**ON_PTL, **DAGGER}, 'PTL+SSG-dagger'),
        'ptl-ssg': Variant(ON_PTL, 'PTL+SSG'),
        'ptl-ssg-split': Variant({**ON_PTL, 'batch_norm': 'split'}),
        'bl-ssg': Variant(),
        'ssg-2019': Variant(AUTHORS, 'SSG', AUTHORS_BASE),
        # After the run that --config.init.run names, without training on the source before.
        'ssg': Variant({'source_epochs': 0}),
        'ssg-dagger': Variant({'source_epochs': 0, **DAGGER}),
    },
    base=ptl.BASE,
)
