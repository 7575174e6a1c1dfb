"""Points to `jreid.configs.cuhk032cuhk01`, so that `--config=configs/cuhk032cuhk01.py` works in a checkout."""

from jreid.configs.cuhk032cuhk01 import get_config

__all__ = ['get_config']
