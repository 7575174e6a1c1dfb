"""Points to the config in the package, `jreid.configs.duke2market`."""

from jreid.configs.duke2market import get_config

__all__ = ['get_config']
