"""Points to the config in the package, `jreid.configs.market`."""

from jreid.configs.market import get_config

__all__ = ['get_config']
