"""PKU to WARD: two small real sets, EfficientNet-Lite0 with ImageNet weights.

The weights come from a Python package (extra `demo`). No paper has this pair. Expected: see
docs/results.md (two CPU cores).

    jreid train --config=configs/pku2ward.py --config.data.root=/data/reid
"""

from ml_collections import ConfigDict

from jreid.configs import base, variants
from jreid.configs.systems import dien, dmtnet, mtdnet


def get_config(variant: str = 'dmtnet') -> ConfigDict:
    """Returns the base config for this pair."""
    config = base.get_config(
        variant,
        dmtnet={
            **dmtnet.SMALL,
            'source_epochs': 10,
            'adapt_epochs': 15,
            'relabel_every': 3,
        },
        dien={
            **dien.SMALL,
            'joint_epochs': 6,  # 108 steps
            'target_batch': 16,
            # ten times the paper's for the backbone, a tenth for the heads
            'learning_rate_backbone': 1e-3,
            'learning_rate_heads': 1e-2,
        },
        mtdnet=mtdnet.SMALL,
        ptl={'source_epochs': 10},
        ssg={
            'source_epochs': 10,
            'rounds': 3,
            'round_epochs': 1,  # on twice the images of ward2pku's target
            'group_identities': 8,
            'group_learning_rate': 1e-4,
            'rho': 3e-3 * 1_536 / 1_248,  # as many pairs per image as in the demo
            'cluster_centring': 'camera',
            # the first round's features: mAP 9.3 with the target's statistics, 8.0 without
            'batch_norm': 'split',
        },
        teacher={'source_epochs': 10},
    )
    config.data.source, config.data.target = 'pku', 'ward'
    config.data.height, config.data.width = 128, 64
    config.model.backbone = 'efficientnet_lite0'
    config.model.weights = 'package'
    if not variants.augments(variant):
        config.augment.pad = 5
    if config.method.name == 'mtdnet':
        mtdnet.small_images(config, height=96, width=48)
        # draws the half of the people whose labels are read; the others are tested
        config.data.target_options = ConfigDict({'split_seed': 0})
    return config
