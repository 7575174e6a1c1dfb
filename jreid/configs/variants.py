"""The systems and ablations that `--config=configs/PAIR.py:VARIANT` picks, with the row of the
paper each one is.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from jreid.configs.systems import dien, dmtnet, mtdnet, ptl, ssg, teacher, tjaidl

SYSTEMS = (dmtnet, dien, tjaidl, mtdnet, ptl, ssg, teacher)

# variant -> (settings of the system, what the variant changes, row of the paper)
VARIANTS = {
    name: (system.SETTINGS, *variant)
    for system in SYSTEMS
    for name, variant in system.VARIANTS.items()
}


def method_settings(variant: str, edits: Mapping[str, Any] = MappingProxyType({})) -> ConfigDict:
    """Settings of the variant's system, with a pair's edits under the variant's own changes.

    Raises:
      ValueError: the variant does not exist; the message lists those that do.
    """
    if variant not in VARIANTS:
        near = difflib.get_close_matches(variant, VARIANTS, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise ValueError(
            f"variant '{variant}' does not exist{hint}; there are: {', '.join(sorted(VARIANTS))}"
        )
    settings, changes, _ = VARIANTS[variant]
    return ConfigDict(
        {
            **settings,
            **{name: value for name, value in edits.items() if name in settings},
            **changes,
        }
    )


def base_edits(variant: str) -> dict[str, Any]:
    """Fields outside `config.method` that the variant's system comes with (its backbone, say),
    as dotted names; a pair's own values win over them.
    """
    system = next(system for system in SYSTEMS if variant in system.VARIANTS)
    return dict(getattr(system, 'BASE', {}))


def paper_row(variant: str) -> str:
    """Name of the row that the variant has in the paper's tables; '' where it has none."""
    return VARIANTS[variant][2]


def reranked(variant: str) -> bool:
    """Whether the variant's evaluation has a row with re-ranking."""
    return variant.endswith('-reranking')
