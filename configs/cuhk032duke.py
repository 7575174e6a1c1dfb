"""Points to `jreid.configs.cuhk032duke`, so that `--config=configs/cuhk032duke.py` works in a checkout."""

from jreid.configs.cuhk032duke import get_config

__all__ = ['get_config']
