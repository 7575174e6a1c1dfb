"""MTDnet and the forms of its Table 1 (Chen et al. 2017)."""

from ml_collections import ConfigDict

from jreid.configs.systems import PLAIN_IMAGES, System, Variant
from jreid.methods.settings.mtdnet import Settings

SYSTEM = System(
    name='mtdnet',
    settings=Settings,
    paper='MTDnet',
    reference='Chen et al. 2017, A multi-task deep network for person re-identification',
    variants={
        'mtdnet': Variant(row='MTDnet'),
        'mtdnet-rnk': Variant({'form': 'ranking', 'test': 'feature'}, 'MTDnet-rnk'),
        'mtdnet-cls': Variant({'form': 'classification'}, 'MTDnet-cls'),
        'mtdnet-trp': Variant({'test': 'feature'}, 'MTDnet-trp', of='mtdnet'),
        'mtdnet-aug': Variant({'target_training': 'augment'}, 'MTDnet-aug'),
        'mtdnet-cross': Variant({'target_training': 'cross'}, 'MTDnet-cross'),
    },
    base={
        # supervised on the small target: the one system that reads its training labels
        'data.target_labels': True,
        'data.height': 224,
        'data.width': 224,
        'model.backbone': 'caffenet',  # as the authors' program, whose weights are CaffeNet's
        **PLAIN_IMAGES,
        'evaluation.mirror': True,  # scores averaged over the mirror images of both sides
        'evaluation.single_shot': 'exact',
        'evaluation.adabn': False,
    },
)

# For trainings from random weights within minutes on one CPU core: about a sixth of the channels,
# fewer and smaller batches, a higher learning rate.
SMALL = {
    'source_iterations': 1000,
    'target_iterations': 800,
    'epoch_iterations': 200,
    'pairs_per_batch': 4,
    'learning_rate': 1e-2,
    'clip': 1.0,  # keeps such rates from ending in dead units
    'pair_widths': (64, 64, 32),
    'dense_width': 256,
    'feature_width': 128,
    'dropout': 0.2,
    'initial': 'he',
}


def small_images(config: ConfigDict, *, height: int, width: int) -> None:
    """Sets smaller images and a narrow AlexNet that goes with `SMALL`.

    conv1's stride is halved, so that the maps keep their grid.
    """
    config.data.height, config.data.width = height, width
    config.model.backbone, config.model.weights = 'caffenet', ''
    config.model.options = ConfigDict(
        {'widths': (16, 32, 64, 64, 32), 'first_stride': 2, 'initial': 'he'}
    )
