"""Points to the config in the package, `jreid.configs.market2duke`."""

from jreid.configs.market2duke import get_config

__all__ = ['get_config']
