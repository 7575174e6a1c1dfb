"""Points to `jreid.configs.market2prid`, so that `--config=configs/market2prid.py` works in a checkout."""

from jreid.configs.market2prid import get_config

__all__ = ['get_config']
