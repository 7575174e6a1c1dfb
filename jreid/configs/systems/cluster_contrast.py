"""Cluster-Contrast and its forms: unsupervised, or after the run that `config.init.run` names.

`bl-cluster-contrast` trains the strong baseline on the source first.
"""

from jreid.configs.systems import System, Variant
from jreid.methods.settings.cluster_contrast import Settings

ALONE = {'source_epochs': 0}

SYSTEM = System(
    name='cluster_contrast',
    settings=Settings,
    paper='Cluster-Contrast',
    reference='Dai et al. 2021, Cluster contrast for unsupervised person re-identification',
    variants={
        'cluster-contrast': Variant(ALONE),
        'cluster-contrast-hard': Variant({**ALONE, 'update': 'hard'}),
        # NIEC's count and its k-means in place of DBSCAN; it reads the source's features.
        'cluster-contrast-niec': Variant({**ALONE, 'clustering': 'niec'}),
        # CAP's proxies per camera, with the memory, the losses and the clustering of its program.
        'cluster-contrast-cap': Variant(
            {
                **ALONE,
                'camera_proxies': True,
                'memory_momentum': 0.2,
                'temperature': 0.07,
                'k1': 20,
                'eps': 0.5,
            }
        ),
        'bl-cluster-contrast': Variant(),
    },
)
