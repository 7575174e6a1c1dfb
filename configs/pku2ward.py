"""Points to the config in the package, `jreid.configs.pku2ward`."""

from jreid.configs.pku2ward import get_config

__all__ = ['get_config']
