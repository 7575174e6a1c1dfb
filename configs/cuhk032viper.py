"""Points to `jreid.configs.cuhk032viper`, so that `--config=configs/cuhk032viper.py` works in a checkout."""

from jreid.configs.cuhk032viper import get_config

__all__ = ['get_config']
