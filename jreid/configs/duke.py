r"""DukeMTMC-reID alone, without a label of any set: Cluster-Contrast with ResNet-50.

Steps and eps are those of the program's script. Not run by us: the set is not on our machines.

    jreid train --config=configs/duke.py --workdir=runs/duke \
        --config.data.root=/data/reid --config.model.weights=/data/weights/resnet50.pth
"""

from ml_collections import ConfigDict

from jreid.configs import base


def get_config(variant: str = 'cluster-contrast') -> ConfigDict:
    """Returns the base config for this set, as the target of no source."""
    config = base.get_config(variant)
    config.data.source, config.data.target = 'none', 'dukemtmc'
    # 256 images on 4 GPUs
    config.train.batch_norm_groups = 4
    return config
