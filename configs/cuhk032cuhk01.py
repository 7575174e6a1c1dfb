"""Points to the config in the package, `jreid.configs.cuhk032cuhk01`."""

from jreid.configs.cuhk032cuhk01 import get_config

__all__ = ['get_config']
