r"""MSMT17 alone, without a label of any set: Cluster-Contrast with ResNet-50.

Steps are those of the program's script, the grouping is `base.alone`'s. Not run by us: the set is
not on our machines.

    jreid train --config=configs/msmt17.py --workdir=runs/msmt17 \
        --config.data.root=/data/reid --config.model.weights=/data/weights/resnet50.pth
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'cluster-contrast') -> ConfigDict:
    """Returns the config of an unsupervised run on this set, see `base.alone`."""
    return base.alone(
        variant, 'msmt17', cluster_contrast={'contrast_steps': 400}, spcl={'steps': 800}
    )
