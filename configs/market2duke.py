"""Points to `jreid.configs.market2duke`, so that `--config=configs/market2duke.py` works in a checkout."""

from jreid.configs.market2duke import get_config

__all__ = ['get_config']
