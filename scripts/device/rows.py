"""What a stage tells its runner: rows, and the reason why it cannot run."""

import json
import os
import sys
from typing import Any, NoReturn

from device.runner import ROWS, SKIPPED


def row(what: str, value: Any, *, passed: bool | None = None, note: str = '') -> None:
    """Writes a figure.

    Args:
      what: its name with the unit.
      value: a number or a text.
      passed: whether it is as expected; None for a figure that is only reported.
    """
    _write({'what': what, 'value': value, 'passed': passed, 'note': note})


def skip(reason: str) -> NoReturn:
    """Ends the stage, which this machine cannot run."""
    _write({'skipped': reason})
    sys.exit(SKIPPED)


def _write(value: dict[str, Any]) -> None:
    line = json.dumps(value)
    print(line, flush=True)
    if path := os.environ.get(ROWS):
        with open(path, 'a') as file:
            file.write(line + '\n')
