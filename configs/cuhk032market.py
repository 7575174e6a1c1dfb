"""Points to the config in the package, `jreid.configs.cuhk032market`."""

from jreid.configs.cuhk032market import get_config

__all__ = ['get_config']
