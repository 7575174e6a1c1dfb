"""Points to `jreid.configs.market2viper`, so that `--config=configs/market2viper.py` works in a checkout."""

from jreid.configs.market2viper import get_config

__all__ = ['get_config']
