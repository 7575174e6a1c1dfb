"""Points to `jreid.configs.teacher_attributes`, so that `--config=configs/teacher_attributes.py` works in a checkout."""

from jreid.configs.teacher_attributes import get_config

__all__ = ['get_config']
