"""Losses, learning rates and retrieval metrics over a run."""

from __future__ import annotations

import json
import numbers
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jreid.figures.canvas import (
    COLOURS,
    GREY,
    LINES,
    MARKERS,
    PathLike,
    dress,
    new_figure,
    plain,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Record = Mapping[str, Any]
# Most points of a line; a longer history is averaged over this many equal stretches.
POINTS = 400
PANEL_LABELS = {'loss': 'loss', 'rate': 'learning rate', 'score': 'mAP, rank-k (%)'}
# A number of a training record with one of these words in its name is not a loss.
OTHER = {
    *('step', 'steps', 'epoch', 'epochs', 'progress', 'second', 'seconds', 'time', 'eta', 'memory'),
    *('images', 'examples', 'accuracy', 'norm', 'scale', 'count', 'fraction'),
}


def plot_curves(
    path: PathLike,
    metrics: PathLike | Iterable[Record],
    *,
    losses: Sequence[str] | None = None,
    title: str = '',
) -> pathlib.Path:
    """Draws the loss terms, learning rates and mAP with rank-k of one run, one panel each.

    Learning rates are the training numbers with 'learning_rate' or 'lr' in their names, and scores
    the evaluation numbers with 'mAP' or 'rank'. Empty panels are left out. Scores are in percent;
    if one exceeds 1, all are percent already. Training numbers are averaged over each epoch if all
    records have an epoch and they span at least three. Otherwise the axis is the step.

    Dotted lines mark refreshes of the pseudo labels, full lines changes of phase. A resumed run
    repeats lost steps, so the last of several numbers with the same name, kind and step counts.

    Args:
      metrics: a metrics.jsonl file, or its records. These are dicts with 'step', 'phase', 'kind'
        ('train', 'evaluation' or 'refresh') and numbers.
      losses: names of the losses. The default is all training numbers except counts, times and
        similar.

    Raises:
      ValueError: no record with a step, a line that is not JSON (a half-written last line is
        ignored), or nothing to draw.
    """
    records, name = _load(metrics)
    ordered = _merged(records)
    if not ordered:
        raise ValueError(
            f'found {len(records)} records in {name}, none with a step; expected lines such as'
            ' {"step": 10, "kind": "train", "loss": 1.5}'
        )
    axis = _axis(ordered)
    lines = _lines(ordered, axis, losses)
    panels = [panel for panel in PANEL_LABELS if lines[panel]]
    if not panels:
        names = sorted({key for r in ordered for key in r})
        raise ValueError(
            f'found no loss, learning rate, mAP or rank-k among {names} of {len(ordered)} records'
            f' in {name}; expected at least one'
        )

    figure = new_figure(1.2 + 2.6 * len(panels))
    for axes, panel in zip(
        figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True
    ):
        _draw(axes, lines[panel], panel)
        _events(axes, ordered, axis, named=panel == panels[0])
        dress(axes, x=axis if panel == panels[-1] else '', y=PANEL_LABELS[panel])
        if len(lines[panel]) > 1 or panel != 'rate':
            axes.legend(loc='center left', bbox_to_anchor=(1.01, 0.5), fontsize=9)
    if title:
        figure.suptitle(title.replace('$', r'\$'), fontsize=13)
    return save(figure, path)


def lines_by_panel(
    records: Iterable[Record],
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Returns the lines of `plot_curves` against the step.

    The result maps panel ('loss', 'rate', 'score') -> name -> (positions, values).
    """
    return _lines(_merged(records), 'step', None)


def _merged(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Merges records into one per kind and step, ordered by step."""
    history: dict[tuple[str, float], dict[str, Any]] = {}
    for record in records:
        if _is_number(record.get('step')):
            history.setdefault((str(record.get('kind', 'train')), record['step']), {}).update(
                record
            )
    return sorted(history.values(), key=lambda r: r['step'])


def _load(metrics: PathLike | Iterable[Record]) -> tuple[Sequence[Record], str]:
    """Returns the records and a name for messages."""
    if not isinstance(metrics, str | os.PathLike):
        return list(metrics), 'the list'
    return read_records(metrics), str(metrics)


def read_records(metrics: PathLike) -> list[Record]:
    """Reads `metrics.jsonl`; a last line that a killed run left unfinished is passed over.

    Raises:
      ValueError: a line is no JSON object; names the file and the line.
    """
    # By bytes: one line that is no text is named as any other.
    text = pathlib.Path(metrics).read_bytes().splitlines()
    numbered = [(number, line) for number, line in enumerate(text, 1) if line.strip()]
    records: list[Record] = []
    for number, line in numbered:
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            if number == numbered[-1][0]:
                break
            start = line[:60].decode(errors='replace')
            raise ValueError(
                f'line {number} of {metrics} is no JSON object: {start!r}; expected one record per'
                ' line'
            ) from error
    return records


def _axis(records: Sequence[Record]) -> str:
    """Returns 'epoch' if every record has one and they ascend over at least three, else 'step'.

    An epoch that starts again with each phase would fold the lines back.
    """
    epochs: list[Any] = [record.get('epoch') for record in records]
    usable = (
        all(_is_number(epoch) for epoch in epochs)
        and len(set(epochs)) >= 3
        and epochs == sorted(epochs)
    )
    return 'epoch' if usable else 'step'


def _lines(
    records: Sequence[Record], axis: str, losses: Sequence[str] | None
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Returns panel -> name of a number -> (positions, values)."""
    gathered: dict[str, dict[str, list[tuple[float, float]]]] = {
        panel: {} for panel in PANEL_LABELS
    }
    for record in records:
        for key, value in record.items():
            panel = _panel(key, str(record.get('kind', 'train')), losses)
            if panel and key != axis and _is_number(value):
                gathered[panel].setdefault(key, []).append((record[axis], value))
    fractions = not any(value > 1 for pairs in gathered['score'].values() for _, value in pairs)
    lines: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for panel, named in gathered.items():
        lines[panel] = {}
        for key, pairs in named.items():
            x, y = np.array(pairs, np.float64).T
            lines[panel][key] = _averaged(x, 100 * y if panel == 'score' and fractions else y)
    return lines


def _panel(key: str, kind: str, losses: Sequence[str] | None) -> str | None:
    """Returns the panel of a number by its name and the kind of its record."""
    words = re.split(r'[^a-z]+', key.lower())
    if kind == 'evaluation':
        return 'score' if 'map' in words or 'rank' in words else None
    if kind != 'train':
        return None
    if 'learning_rate' in key.lower() or 'lr' in words:
        return 'rate'
    if losses is not None:
        return 'loss' if key in losses else None
    return 'loss' if 'loss' in words or not OTHER.intersection(words) else None


def _averaged(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages y over equal x, then over at most POINTS stretches; a NaN stays a gap."""
    places, group = np.unique(x, return_inverse=True)
    means = np.bincount(group, y) / np.bincount(group)
    if len(places) <= POINTS:
        return places, means
    stretch = np.arange(len(places)) * POINTS // len(places)
    size = np.bincount(stretch)
    return np.bincount(stretch, places) / size, np.bincount(stretch, means) / size


def _draw(axes: Axes, lines: dict[str, tuple[np.ndarray, np.ndarray]], panel: str) -> None:
    """Draws the lines of one panel."""
    for number, (key, (x, y)) in enumerate(lines.items()):
        # A line of one point is invisible without a marker.
        marker = MARKERS[number % len(MARKERS)] if panel == 'score' or len(x) == 1 else None
        style: dict[str, Any] = {
            'color': COLOURS[number % len(COLOURS)],
            'linestyle': LINES[number % len(LINES)],
        }
        axes.plot(x, y, label=plain(key), marker=marker, markersize=5, linewidth=1.6, **style)
    values = np.concatenate([y for _, y in lines.values()])
    values = values[np.isfinite(values)]
    if panel == 'loss' and values.size and values.min() > 0 and values.max() > 50 * values.min():
        axes.set_yscale('log')
    if panel == 'rate':
        axes.set_ylim(
            bottom=0, top=1.1 * values.max() if values.size and values.max() > 0 else None
        )
        axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))


def _events(axes: Axes, records: Sequence[Record], axis: str, *, named: bool) -> None:
    """Draws vertical lines at refreshes and at changes of phase.

    `named` adds the names of the phases above the panel.
    """
    for record in records:
        if record.get('kind') == 'refresh':
            axes.axvline(record[axis], color=GREY, linewidth=0.8, linestyle=':')
    before = None
    for record in records:
        phase = record.get('phase')
        if phase is None or phase == before:
            continue
        if before is not None:
            axes.axvline(record[axis], color=GREY, linewidth=1.2)
        if named:
            axes.annotate(
                plain(str(phase)),
                (record[axis], 1.02),
                xycoords=('data', 'axes fraction'),
                fontsize=9,
                color='#404040',
                annotation_clip=False,
            )
        before = phase


def _is_number(value: Any) -> bool:
    """Returns whether a value is a real number and not a flag."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
