r"""Market-1501 alone, without a label of any set: Cluster-Contrast with ResNet-50.

The program's own log of Market-1501, with a ResNet-50-IBN-a, the hard update, eps 0.4 and 400 steps
per epoch: mAP 87.0, rank-1 94.6. Not run by us with ResNet-50 (see docs/results.md). `:spcl` and
`:mmt` take the other systems that need no source.

    jreid train --config=configs/market.py --workdir=runs/market \
        --config.data.root=/data/reid --config.model.weights=/data/weights/resnet50.pth
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'cluster-contrast') -> ConfigDict:
    """Returns the config of an unsupervised run on this set, see `base.alone`."""
    return base.alone(variant, 'market1501')
