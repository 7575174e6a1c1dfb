"""Points to the config in the package, `jreid.configs.teacher_parsing`."""

from jreid.configs.teacher_parsing import get_config

__all__ = ['get_config']
