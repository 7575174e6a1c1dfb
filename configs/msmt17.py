"""Points to the config in the package, `jreid.configs.msmt17`."""

from jreid.configs.msmt17 import get_config

__all__ = ['get_config']
