"""Points to the config in the package, `jreid.configs.duke2viper`."""

from jreid.configs.duke2viper import get_config

__all__ = ['get_config']
