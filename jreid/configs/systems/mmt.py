"""MMT (Ge et al. 2020): k-means with NIEC's count or a given one, or DBSCAN, per epoch."""

from jreid.configs.systems import System, Variant
from jreid.methods.settings.mmt import Settings

SYSTEM = System(
    name='mmt',
    settings=Settings,
    paper='MMT',
    reference='Ge et al. 2020, Mutual mean-teaching',
    variants={
        'mmt': Variant(),
        # After the run that --config.init.run names, without training on the source before.
        'mmt-after': Variant({'source_epochs': 0}),
        'mmt-dbscan': Variant({'clustering': 'dbscan'}),
        # The paper's counts for Duke, Market and MSMT17; --config.method.clusters gives another.
        'mmt-500': Variant({'clustering': 'kmeans', 'clusters': 500}),
        'mmt-700': Variant({'clustering': 'kmeans', 'clusters': 700}),
    },
)
