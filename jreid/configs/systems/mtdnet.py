"""MTDnet and the forms of its Table 1 (Chen et al. 2017)."""

from ml_collections import ConfigDict

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

SETTINGS = {
    'name': 'mtdnet',
    # both tasks; 'classification' or 'ranking' alone (then conv3 to fc8 are on single images)
    'form': 'multi',
    # what ranks the gallery: the probability that a pair shows one person; 'feature': the ranking
    # feature
    'test': 'pairs',
    # of the source-trained network on the target; 'augment': on both sets' images; 'cross': two
    # coupled copies
    'target_training': 'finetune',
    'source_iterations': 20_000,  # paper: silent. 0 where init.run names a source-trained run
    'target_iterations': 5_000,  # paper: silent. 0 for the source-trained network alone
    # iterations between checkpoints, "epochs" of the trainer; the two above are multiples of it
    'epoch_iterations': 1000,
    'pairs_per_batch': 12,  # positive pairs; paper: silent
    # negatives of each positive pair: a batch has 12 x (2 + 10) images, 120 triplets
    'triplets_per_pair': 10,
    'learning_rate': 1e-3,  # in both phases
    'schedule': 'constant',
    'momentum': 0.9,
    'weight_decay': 5e-4,  # paper: silent; AlexNet's
    'clip': 0.0,  # largest gradient norm, 0 for none
    'pair_widths': (384, 384, 256),  # channels of conv3 to conv5
    'dense_width': 4096,  # fc6 and fc7
    'feature_width': 512,  # the ranking feature
    'dropout': 0.5,  # after fc6 and fc7; paper: silent; AlexNet's
    # random start of what follows the shared layers: Caffe's for AlexNet; 'he' for short trainings
    # from scratch
    'initial': 'caffe',
    'normalise': True,  # ranking feature of unit length, as FaceNet's; the paper does not say
    # the authors' published setting, as are the weights and the contrastive margin
    'triplet_margin': 1.0,
    'triplet_reduction': 'sum',  # over a batch's triplets, Eq. 1; 'mean'
    'contrastive_margin': 1.0,  # on fc7's responses of unit length
    'weight_triplet': 1.0,
    'weight_classification': 1.0,
    'weight_contrastive': 1.0,
}

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
