"""Points to `jreid.configs.ward2pku`, so that `--config=configs/ward2pku.py` works in a checkout."""

from jreid.configs.ward2pku import get_config

__all__ = ['get_config']
