"""Points to `jreid.configs.duke2viper`, so that `--config=configs/duke2viper.py` works in a checkout."""

from jreid.configs.duke2viper import get_config

__all__ = ['get_config']
