"""Points to `jreid.configs.teacher_parsing`, so that `--config=configs/teacher_parsing.py` works in a checkout."""

from jreid.configs.teacher_parsing import get_config

__all__ = ['get_config']
