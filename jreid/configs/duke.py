r"""DukeMTMC-reID alone, without a label of any set: Cluster-Contrast with ResNet-50.

Steps are those of the program's script, the grouping is `base.alone`'s. Not run by us: the set is
not on our machines.

    jreid train --config=configs/duke.py --workdir=runs/duke \
        --config.data.root=/data/reid --config.model.weights=/data/weights/resnet50.pth
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'cluster-contrast') -> ConfigDict:
    """Returns the config of an unsupervised run on this set, see `base.alone`."""
    return base.alone(variant, 'dukemtmc')
