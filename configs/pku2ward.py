"""Points to `jreid.configs.pku2ward`, so that `--config=configs/pku2ward.py` works in a checkout."""

from jreid.configs.pku2ward import get_config

__all__ = ['get_config']
