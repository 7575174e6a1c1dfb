"""The systems, one file per paper, as records of pure functions (`jreid.methods.contract.Method`).

Names load on first use, so that `jreid.methods.settings` can be read without JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jreid.methods.contract import (
        Context,
        Method,
        Phase,
        Problem,
        RefreshContext,
        Refreshed,
        State,
        Stream,
    )
    from jreid.methods.systems import METHODS, build, given_identities, read_settings

__all__ = [
    'METHODS',
    'Context',
    'Method',
    'Phase',
    'Problem',
    'RefreshContext',
    'Refreshed',
    'State',
    'Stream',
    'build',
    'given_identities',
    'read_settings',
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jreid.methods' has no attribute '{name}'")
    of_systems = name in ('METHODS', 'build', 'given_identities', 'read_settings')
    home = 'systems' if of_systems else 'contract'
    return getattr(importlib.import_module(f'jreid.methods.{home}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
