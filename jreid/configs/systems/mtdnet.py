"""MTDnet and the forms of its Table 1 (Chen et al. 2017)."""

import dataclasses

from ml_collections import ConfigDict

from jreid.methods.settings.mtdnet import Settings

# Fields of the base config that the system comes with; a pair's own values win.
BASE = {
    # supervised on the small target: the one system that reads its training labels
    'data.target_labels': True,
    'data.height': 224,
    'data.width': 224,
    'model.backbone': 'alexnet',
    'augment.pad': 0,  # each image and its mirror, and no other change
    'augment.erase_probability': 0.0,
    'evaluation.mirror': True,  # scores averaged over the mirror images of both sides
    'evaluation.single_shot': 'exact',
    'evaluation.adabn': False,
}

SETTINGS = {'name': 'mtdnet', **dataclasses.asdict(Settings())}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'mtdnet': ({}, 'MTDnet'),
    'mtdnet-rnk': ({'form': 'ranking', 'test': 'feature'}, 'MTDnet-rnk'),
    'mtdnet-cls': ({'form': 'classification'}, 'MTDnet-cls'),
    'mtdnet-trp': ({'test': 'feature'}, 'MTDnet-trp'),
    'mtdnet-aug': ({'target_training': 'augment'}, 'MTDnet-aug'),
    'mtdnet-cross': ({'target_training': 'cross'}, 'MTDnet-cross'),
}


def small(config: ConfigDict, *, height: int, width: int) -> None:
    """Change a config to one that trains from random weights in minutes on one CPU core; the
    variant's own changes stay.

    What differs from the paper's form: smaller images with conv1's stride halved, so that the maps
    keep their grid; about a sixth of the channels; fewer and smaller batches of a higher learning
    rate, with the gradient's norm clipped, which keeps such rates from ending in dead units; mean
    instead of sum over the triplets, since the clipped gradient would be the triplet loss's alone.
    """
    config.data.height, config.data.width = height, width
    config.model.backbone, config.model.weights = 'alexnet', ''
    config.model.options = ConfigDict(
        {'widths': (16, 32, 64, 64, 32), 'first_stride': 2, 'initial': 'he'}
    )
    config.augment.pad, config.augment.erase_probability = (
        BASE['augment.pad'],
        BASE['augment.erase_probability'],
    )
    config.method.update(
        {
            'source_iterations': 1000,
            'target_iterations': 800,
            'epoch_iterations': 200,
            'pairs_per_batch': 4,
            'learning_rate': 1e-2,
            'clip': 1.0,
            'pair_widths': (64, 64, 32),
            'dense_width': 256,
            'feature_width': 128,
            'dropout': 0.2,
            'initial': 'he',
            'triplet_reduction': 'mean',
        }
    )
