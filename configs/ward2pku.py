"""Points to the config in the package, `jreid.configs.ward2pku`."""

from jreid.configs.ward2pku import get_config

__all__ = ['get_config']
