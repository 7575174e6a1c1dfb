"""Points to the config in the package, `jreid.configs.cuhk032viper`."""

from jreid.configs.cuhk032viper import get_config

__all__ = ['get_config']
