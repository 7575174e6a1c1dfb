"""Points to the config in the package, `jreid.configs.teacher_attributes`."""

from jreid.configs.teacher_attributes import get_config

__all__ = ['get_config']
