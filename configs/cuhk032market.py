"""Points to `jreid.configs.cuhk032market`, so that `--config=configs/cuhk032market.py` works in a checkout."""

from jreid.configs.cuhk032market import get_config

__all__ = ['get_config']
