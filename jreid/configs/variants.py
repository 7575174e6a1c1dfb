"""The systems, and the variants of them that `--config=configs/PAIR.py:VARIANT` picks."""

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_type_hints

from ml_collections import ConfigDict

from jreid.configs.systems import (
    System,
    Variant,
    cluster_contrast,
    dien,
    dmtnet,
    mmt,
    mtdnet,
    ptl,
    spcl,
    ssg,
    teacher,
    tjaidl,
)
from jreid.methods.settings.values import mismatch, nearest

SYSTEMS: dict[str, System] = {
    module.SYSTEM.name: module.SYSTEM
    for module in (
        dmtnet,
        dien,
        tjaidl,
        mtdnet,
        ptl,
        ssg,
        mmt,
        spcl,
        cluster_contrast,
        teacher,
    )
}

VARIANTS: dict[str, Variant] = {
    name: variant for system in SYSTEMS.values() for name, variant in system.variants.items()
}


def system_of(variant: str) -> System:
    """Returns the system that a variant belongs to.

    Raises:
      ValueError: the variant does not exist; the message lists those that do.
    """
    for system in SYSTEMS.values():
        if variant in system.variants:
            return system
    hint = nearest(variant, VARIANTS)
    raise ValueError(
        f"variant '{variant}' does not exist{hint}; there are: {', '.join(sorted(VARIANTS))}"
    )


def check_variant(variant: str, method: str) -> None:
    """Checks that `config.variant` names a variant of the system in `config.method`.

    Args:
      method: `config.method.name`. A system from outside the package has what variants it likes.

    Raises:
      ValueError: the variant does not exist, or belongs to another system.
    """
    if method in SYSTEMS and (system := system_of(variant).name) != method:
        raise ValueError(
            f"config.variant is '{variant}', a variant of {system}, but config.method holds the"
            f' settings of {method}; choose the variant as --config=PAIR:{variant}'
        )


def method_settings(variant: str, edits: Mapping[str, Any] = MappingProxyType({})) -> ConfigDict:
    """Returns `config.method`: the system's defaults, under `edits`, under the variant's changes.

    Args:
      variant: a name of `VARIANTS`.
      edits: a pair's own values of the system's settings.

    Raises:
      ValueError: the variant or a setting does not exist, or a value does not fit its field.
    """
    system = system_of(variant)
    check_edits({system.name: edits}, system.name)
    defaults = dataclasses.asdict(system.settings())
    return ConfigDict({'name': system.name, **defaults, **edits, **VARIANTS[variant].changes})


def check_edits(edits: Mapping[str, Mapping[str, Any]], first: str) -> None:
    """Checks a pair's edits, system -> setting -> value, of all systems.

    Args:
      first: the system of the variant, whose settings are the likeliest to be meant.

    Raises:
      ValueError: a system or a setting does not exist, or a value does not fit its field; names the
        nearest right one.
    """
    for name, settings in edits.items():
        if name not in SYSTEMS:
            hint = _setting_meant(name, first) or nearest(name, SYSTEMS)
            raise ValueError(
                f"system '{name}' does not exist{hint}; there are:"
                f' {", ".join(SYSTEMS)}. Edits go by system, e.g. dmtnet={{...}}'
            )
        hints = get_type_hints(SYSTEMS[name].settings, include_extras=True)
        if not isinstance(settings, Mapping):
            raise ValueError(
                f'{name} is {settings!r}; expected settings and their values, e.g.'
                f" {name}={{'{next(iter(hints))}': ...}}"
            )
        for setting, value in settings.items():
            if setting not in hints:
                raise ValueError(
                    f"{name} has no setting '{setting}'{nearest(setting, hints)}; see"
                    f' jreid/methods/settings/{name}.py'
                )
            if expected := mismatch(value, hints[setting]):
                raise ValueError(f'{name}.{setting} is {value!r}; expected {expected}')


def _setting_meant(word: str, first: str) -> str:
    """Returns a hint in words where a system's name is more like a setting, else ''.

    A setting of that very name counts most, then a system that is near, then a near setting.
    """
    order = [first, *(name for name in SYSTEMS if name != first)]
    fields = {name: list(get_type_hints(SYSTEMS[name].settings)) for name in order}
    exact = ((name, word) for name in order if word in fields[name])
    close = (
        (name, setting)
        for name in order
        if not nearest(word, SYSTEMS)
        for setting in difflib.get_close_matches(word, fields[name], 1)
    )
    system, setting = next(exact, None) or next(close, ('', ''))
    return f" (did you mean {system}={{'{setting}': ...}}?)" if system else ''


def base_edits(variant: str) -> dict[str, Any]:
    """Returns the fields outside `config.method` that the variant comes with, as dotted names.

    Its backbone, say; a pair's own values win over them.
    """
    return {**system_of(variant).base, **VARIANTS[variant].base}


def augments(variant: str) -> bool:
    """Returns whether the variant comes with augmentation of its own, which pairs leave alone."""
    return any(name.startswith('augment.') for name in base_edits(variant))


def paper_row(variant: str) -> str:
    """Returns the variant's row in the paper's tables, '' where it has none."""
    return VARIANTS[variant].row


def training_of(variant: str) -> str:
    """Returns the variant whose training serves this one: mostly itself, see `Variant.of`."""
    return VARIANTS[variant].of or variant


def summary_of(variant: str) -> str:
    """Returns the variant whose run's summary has this one's row: mostly itself."""
    return training_of(variant) if VARIANTS[variant].of_row else variant


def reranked(variant: str) -> bool:
    """Returns whether the variant's row is the one after re-ranking."""
    return bool(VARIANTS[variant].base.get('evaluation.rerank'))
