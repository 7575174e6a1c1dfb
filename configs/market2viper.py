"""Points to the config in the package, `jreid.configs.market2viper`."""

from jreid.configs.market2viper import get_config

__all__ = ['get_config']
