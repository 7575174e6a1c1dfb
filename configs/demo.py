"""Points to the config in the package, `jreid.configs.demo`."""

from jreid.configs.demo import get_config

__all__ = ['get_config']
