"""Points to the config in the package, `jreid.configs.cuhk032duke`."""

from jreid.configs.cuhk032duke import get_config

__all__ = ['get_config']
