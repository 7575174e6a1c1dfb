"""Points to `jreid.configs.duke2market`, so that `--config=configs/duke2market.py` works in a checkout."""

from jreid.configs.duke2market import get_config

__all__ = ['get_config']
