"""The demo: synthetic pedestrians, from a sunny plaza to a campus, on two CPU cores in at most six minutes.

Expected: see the README's results. Command: python -m jreid.main --config=configs/demo.py
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'dmtnet') -> ConfigDict:
    """The base config with small images, a small network, and generated data."""
    config = base.get_config(variant, source_epochs=16, adapt_epochs=12, relabel_every=3, learning_rate=2e-3, adapt_learning_rate=1e-3)
    data = config.data
    data.source, data.target = 'synthetic', 'synthetic'
    data.source_options = ConfigDict({'domain': 'plaza', 'identities': 64, 'test_identities': 32})
    data.target_options = ConfigDict({'domain': 'campus', 'identities': 64, 'test_identities': 64})
    data.height, data.width = 128, 64
    config.model.backbone = 'small_cnn'
    config.augment.pad = 5
    return config
