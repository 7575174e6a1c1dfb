"""Points to `jreid.configs.market2cuhk03`, so that `--config=configs/market2cuhk03.py` works in a checkout."""

from jreid.configs.market2cuhk03 import get_config

__all__ = ['get_config']
