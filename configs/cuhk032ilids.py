"""Points to the config in the package, `jreid.configs.cuhk032ilids`."""

from jreid.configs.cuhk032ilids import get_config

__all__ = ['get_config']
