"""Points to `jreid.configs.demo`, so that `--config=configs/demo.py` works in a checkout."""

from jreid.configs.demo import get_config

__all__ = ['get_config']
