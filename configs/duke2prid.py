"""Points to `jreid.configs.duke2prid`, so that `--config=configs/duke2prid.py` works in a checkout."""

from jreid.configs.duke2prid import get_config

__all__ = ['get_config']
