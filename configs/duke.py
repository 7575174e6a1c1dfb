"""Points to the config in the package, `jreid.configs.duke`."""

from jreid.configs.duke import get_config

__all__ = ['get_config']
