"""The demo: synthetic pedestrians, from a sunny plaza to a campus, in a few minutes on two cores.

Expected: see docs/results.md.

    jreid train --config=configs/demo.py
"""

from ml_collections import ConfigDict

from jreid.configs import base, variants
from jreid.configs.systems import dien, dmtnet, mtdnet

# Of PTL, of the same training before SSG's grouping, and of the teachers.
_BASELINE = {'source_epochs': 20, 'learning_rate': 2e-3}


def get_config(variant: str = 'dmtnet') -> ConfigDict:
    """Returns the base config with small images, a small network, and generated data."""
    config = base.get_config(
        variant,
        dmtnet={
            **dmtnet.SMALL,
            'source_epochs': 20,
            'adapt_epochs': 12,
            'relabel_every': 2,
            'learning_rate': 2e-3,  # a small network from random weights
            'adapt_learning_rate': 5e-4,
        },
        dien={
            **dien.SMALL,
            # L_IC alone first, since from random weights the triplet loss shrinks all features to a
            # point
            'identity_epochs': 15,
            'joint_epochs': 15,
            'target_batch': 32,
            # the backbone starts from random weights too, so it learns as fast as the heads
            'learning_rate_backbone': 5e-2,
            'learning_rate_attention': 5e-2,
            'learning_rate_heads': 5e-2,
            'embedding_width': 256,
            'attention_width': 64,
            'batch_norm': 'split',  # mAP 31; with common statistics 26 (seed 0)
        },
        tjaidl={
            'identity_iterations': 4000,  # for the few images and the small network
            'joint_iterations': 2000,
            'adapt_iterations': 1000,
            'epoch_iterations': 250,
            'adapt_learning_rate': 5e-4,
        },
        mtdnet=mtdnet.SMALL,
        ptl=_BASELINE,
        ssg={
            **_BASELINE,
            'rounds': 6,
            'group_learning_rate': 5e-4,
            # of 1.6e-3 to 1.35e-2 about where DBSCAN finds the most clusters: below it nearly all
            # is noise, above it one cluster swallows the rest
            'rho': 3e-3,
            'cluster_centring': 'camera',
            # the first round's features: mAP 22 with the target's statistics, 16 without
            'batch_norm': 'split',
        },
        mmt={
            **_BASELINE,
            'source_steps': 0,
            'adapt_epochs': 12,
            'adapt_steps': 0,
            'adapt_learning_rate': 5e-4,
            'alpha': 0.98,  # a memory of two epochs
            'kmeans_restarts': 3,
            'cluster_centring': 'camera',
        },
        spcl={
            'epochs': 20,
            'steps': 48,
            'identities_per_batch': 8,
            'learning_rate': 2e-3,  # a small network from random weights
            'schedule': 'half-linear',
            # 24 images per person; with more neighbours or a greater eps the first clustering, of
            # features that know nobody yet, has a cluster of hundreds of images
            'k1': 20,
            'eps': 0.45,
            'estimate_statistics': True,
            'cluster_centring': 'camera',
            # as measured in docs/results.md
            'norm_affine': 'common',
            'source_gradient': 'begun',
        },
        cluster_contrast={
            **_BASELINE,
            'contrast_epochs': 20,
            'contrast_steps': 0,
            'contrast_images': 4,
            'contrast_learning_rate': 5e-4,
            # 24 images per person; of eps from 0.3 to 0.6 where DBSCAN finds the most clusters in
            # the features of the source's model
            'k1': 20,
            'eps': 0.45,
            'cluster_centring': 'camera',
            'batch_norm': 'split',
        },
        teacher=_BASELINE,
    )
    data = config.data
    data.source, data.target = 'synthetic', 'synthetic'
    data.source_options = ConfigDict({'domain': 'plaza', 'identities': 128, 'test_identities': 16})
    data.target_options = ConfigDict({'domain': 'campus', 'identities': 64, 'test_identities': 64})
    data.height, data.width = 64, 32
    config.model.backbone = 'small_cnn'
    # on 64x32 images several times as fast as the default's five blocks
    config.model.options = ConfigDict({'widths': (32, 64, 128, 256)})
    if not variants.augments(variant):
        config.augment.pad = 3
        config.augment.erase_probability = 0.25
    if config.method.name == 'mtdnet':
        mtdnet.small_images(config, height=64, width=32)
    return config
