"""pku to ward: two small real sets, EfficientNet-Lite0 with ImageNet weights from a Python package
(extra 'demo').

No paper has this pair. Expected: see the README's results (two CPU cores).
Command: python -m jreid.main --config=configs/pku2ward.py --config.data.root=../shared/data
"""

from ml_collections import ConfigDict

from jreid.configs import base
from jreid.configs.systems import dien, mtdnet


def get_config(variant: str = 'dmtnet') -> ConfigDict:
    """The base config for this pair."""
    config = base.get_config(
        variant,
        source_epochs=10,
        adapt_epochs=15,
        relabel_every=3,
        neck=True,
        normalise=True,
        weight_attributes=0.05,
        weight_mmd=0.05,  # see configs/demo.py
        cluster_feature='matching',
        cluster_centring='camera',
        joint_epochs=6,  # DIEN's, 108 steps
        rounds=3,  # SSG's
        round_epochs=1,  # on twice the images of ward2pku's target
        group_identities=8,
        group_learning_rate=1e-4,
        rho=3e-3 * 1_536 / 1_248,  # as many pairs an image as in the demo
    )
    config.data.source, config.data.target = 'pku', 'ward'
    config.data.height, config.data.width = 128, 64
    config.model.backbone = 'efficientnet_lite0'
    config.model.weights = 'package'
    config.augment.pad = 5
    if config.method.name == dien.SETTINGS['name']:
        # the paper's, ten times the backbone's and a tenth of the heads'
        dien.small(config, target_batch=16, rates=(1e-3, 1e-2, 1e-2))
    if config.method.name == mtdnet.SETTINGS['name']:
        mtdnet.small(config, height=96, width=48)
        # draws the half of the people whose labels are read; the others are tested
        config.data.target_options = ConfigDict({'split_seed': 0})
    return config
