"""The distance up to which two images count as the same person, and where it comes from."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from jreid.evaluation.kinds import ADABN, kind_of
from jreid.methods.contract import SOURCE, TARGET

RATES = ('0.001', '0.01', '0.1')
"""False positive rates that `auto` tries: the first that the test split has enough pairs for."""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A threshold on Euclidean distances of features.

    Attributes:
      distance: pairs up to it count as the same person.
      source: where it comes from, in words.
    """

    distance: float
    source: str

    def __str__(self) -> str:
        return f'same person: distance <= {self.distance:.4f} ({self.source})'


def threshold(value: str, run: str) -> Threshold:
    """Reads the value of `--threshold`: a number, or 'auto' for the one that a run measured.

    The run's own is that of its summary's last row. A run that kept none is evaluated: on its
    target's test split or, where the target has no labels, on the source's.

    Args:
      value: 'auto' or a number from 0 on.
      run: folder of the run that made the features; '' where another program made them.

    Raises:
      ValueError: another word, a number below 0, 'auto' without a run, or a run that cannot tell.
    """
    if value != 'auto':
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise ValueError(f"--threshold is '{value}'; expected auto or a distance from 0 on")
        return Threshold(number, 'as given')
    if not run:
        raise ValueError(
            '--threshold=auto reads the threshold of the run that made the features, and another'
            ' program made these; give a distance, such as one that jreid evaluate GALLERY'
            ' QUERY --json=FILE measures on labelled pairs'
        )
    rates, words = _kept(pathlib.Path(run)) or _measured(run)
    if rates['compares'] != 'features':
        raise ValueError(
            f'{run} compares pairs of images, so its threshold is none of features; give a distance'
        )
    for rate in RATES:
        distance = rates['thresholds'].get(rate)
        if distance is not None:
            reached = f'FPR {rate}, TPR {rates["tpr"][rate]:.1f} %'
            return Threshold(distance, f'{reached} on {words}')
    if rates['eer_threshold'] is None:
        raise ValueError(f'{run} has no finite threshold on {words}; give a distance')
    reached = f'equal error rate {rates["eer"]:.1f} %: too few pairs for a false positive rate'
    return Threshold(rates['eer_threshold'], f'{reached}, on {words}')


def _kept(run: pathlib.Path) -> tuple[Mapping[str, Any], str] | None:
    """Returns what the summary's last row says of the run's final model; None where it does not."""
    try:
        summary = json.loads((run / 'summary.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    # `jreid.load_run` does not give AdaBN's model.
    rows = [
        row
        for name, row in summary.items()
        if isinstance(row, dict) and row.get('verification') and kind_of(name, row) != ADABN
    ]
    if not rows:
        return None
    role = rows[-1].get('split', TARGET)
    return rows[-1]['verification'], _words(role, summary.get(role, ''), f'{run / "summary.json"}')


def _measured(run: str) -> tuple[Mapping[str, Any], str]:
    """Evaluates the run, on the target or else on the source."""
    # This import takes seconds, which a number on the command line does not need.
    from jreid.commands.evaluate import evaluate_run

    problems = []
    for role in (TARGET, SOURCE):
        try:
            result = evaluate_run(run, role=role)
        except ValueError as error:
            problems.append(f'on the {role}: {error}')
            continue
        if rates := result['evaluated'].get('verification'):
            return rates, _words(role, result['target'], f'the model of {run}, measured now')
        problems.append(f'on the {role}: its test split has no pairs of different people')
    raise ValueError(f'{run} cannot tell a threshold; {"; ".join(problems)}. Give a distance.')


def _words(role: str, name: str, where: str) -> str:
    why = ', as the target has no labels' if role == SOURCE else ''
    return f"the {role}'s test split, {name}{why}; {where}"
