"""Points to the config in the package, `jreid.configs.cuhk03`."""

from jreid.configs.cuhk03 import get_config

__all__ = ['get_config']
