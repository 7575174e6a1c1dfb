"""Points to the config in the package, `jreid.configs.market2prid`."""

from jreid.configs.market2prid import get_config

__all__ = ['get_config']
