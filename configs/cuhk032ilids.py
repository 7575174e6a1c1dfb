"""Points to `jreid.configs.cuhk032ilids`, so that `--config=configs/cuhk032ilids.py` works in a checkout."""

from jreid.configs.cuhk032ilids import get_config

__all__ = ['get_config']
