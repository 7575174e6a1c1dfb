"""jreid: cross-domain person re-identification in JAX and Flax.

Sub-packages load on first use, so that `import jreid.losses` stays fast and nothing here needs
TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jreid import clustering, data, figures, losses, methods, models, retrieval
    from jreid.run.loading import load_run, load_scorer

__version__ = '0.1.0'

_SUBPACKAGES = ('clustering', 'data', 'figures', 'losses', 'methods', 'models', 'retrieval')

__all__ = [
    '__version__',
    'clustering',
    'data',
    'figures',
    'load_run',
    'load_scorer',
    'losses',
    'methods',
    'models',
    'retrieval',
]


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return importlib.import_module(f'jreid.{name}')
    if name in ('load_run', 'load_scorer'):
        return getattr(importlib.import_module('jreid.run.loading'), name)
    raise AttributeError(f"module 'jreid' has no attribute '{name}'")


def __dir__():
    return sorted([*globals(), *_SUBPACKAGES, 'load_run', 'load_scorer'])
