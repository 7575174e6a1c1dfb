"""Points to the config in the package, `jreid.configs.duke2prid`."""

from jreid.configs.duke2prid import get_config

__all__ = ['get_config']
