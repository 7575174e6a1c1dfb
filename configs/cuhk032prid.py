"""Points to the config in the package, `jreid.configs.cuhk032prid`."""

from jreid.configs.cuhk032prid import get_config

__all__ = ['get_config']
