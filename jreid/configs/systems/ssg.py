"""SSG and SSG-dagger after the strong baseline or PTL (Huang et al. 2020, tables 2 and 5), or
after any run that `config.init.run` names.
"""

from jreid.configs.systems import ptl

BASE = ptl.BASE

SETTINGS = {
    **ptl.SETTINGS,  # of the training before the grouping
    'name': 'ssg',
    'rounds': 30,  # of grouping
    'round_epochs': 2,  # epochs a round; paper: silent
    'group_identities': 16,  # P, by the whole's clusters; paper: silent
    'group_images': 4,  # K
    'group_learning_rate': 6e-5,  # paper: silent
    'group_margin': 0.3,  # paper: silent
    'joint_width': 512,  # of the joint embedding; paper: silent
    # Jaccard distances of k-reciprocal neighbourhoods and the source term; False: Euclidean
    # distances (SSG-dagger)
    'rerank': True,
    'k1': 20,
    'k2': 6,
    'source_weight': 0.1,  # of the distances to the source
    'neighbours': 100,  # of SSG-dagger's graph
    'rho': 1.6e-3,  # share of the pairs whose mean distance is eps
    'min_samples': 4,  # of DBSCAN
    # 'camera': features are grouped less the mean of their camera; the papers do not
    'cluster_centring': 'none',
}

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
