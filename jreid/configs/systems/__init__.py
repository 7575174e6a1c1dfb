"""One file per system: its variants, which are rows of its paper, and what it changes in a run.

The settings themselves, with defaults and comments, are in `jreid.methods.settings`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Of systems whose papers name no augmentation: the mirror image, and no other change.
PLAIN_IMAGES = {'augment.pad': 0, 'augment.erase_probability': 0.0}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A system or an ablation, as `--config=configs/PAIR.py:VARIANT` picks it.

    Attributes:
      changes: settings that differ from the system's defaults; they win over a pair's edits.
      row: its row in the paper's tables, '' where it has none.
      base: fields outside `config.method`, as dotted names; a pair's own values win.
      of: the variant whose training this one is, evaluated otherwise or earlier; '' for a training
        of its own. One without differences is another name of that variant's row.
      of_row: the row of that training's summary that is this variant's, where it is there already;
        '' to evaluate it.
      attributes_of: the data set that the teacher of PTL's attributes is trained on.
    """

    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    row: str = ''
    base: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    of: str = ''
    of_row: str = ''
    attributes_of: str = 'peta'


@dataclasses.dataclass(frozen=True)
class System:
    """A system with its variants.

    Attributes:
      name: `config.method.name`, and the name that pairs edit its settings by.
      settings: the dataclass of its settings.
      paper: the system whose paper has the variants' rows, as `jreid.tables` names it.
      reference: authors, year, venue and title of the system's own paper.
      variants: name -> variant.
      base: fields outside `config.method` that every variant comes with (a backbone, say), as
        dotted names; a pair's own values win.
    """

    name: str
    settings: type
    paper: str
    reference: str
    variants: Mapping[str, Variant]
    base: Mapping[str, Any] = dataclasses.field(default_factory=dict)
