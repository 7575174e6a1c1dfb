"""Points to the config in the package, `jreid.configs.market2cuhk03`."""

from jreid.configs.market2cuhk03 import get_config

__all__ = ['get_config']
