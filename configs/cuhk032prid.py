"""Points to `jreid.configs.cuhk032prid`, so that `--config=configs/cuhk032prid.py` works in a checkout."""

from jreid.configs.cuhk032prid import get_config

__all__ = ['get_config']
