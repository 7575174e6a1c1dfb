"""A run's history: losses, learning rate and retrieval scores."""

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
POINTS = 400  # of a line at most; longer histories are averaged in as many equal stretches
PANEL_LABELS = {'loss': 'loss', 'rate': 'learning rate', 'score': 'mAP, rank-k (%)'}
# Words in the names of a training record's numbers that are no losses.
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
    """Draws loss terms, learning rates and mAP with rank-k of one run, one panel each under the
    other.

    `metrics` is a metrics.jsonl file or its records: dicts with 'step', 'phase', 'kind' ('train',
    'evaluation', 'refresh') and numbers. Learning rates are the training numbers with
    'learning_rate' or 'lr' in their names, losses those named in `losses` (default: all training
    numbers but counts, times and the like), scores the evaluation's with 'mAP' or 'rank'. A record
    may lack any of them, and a panel that would be empty is left out. Scores are shown in percent,
    and taken to be percent already where one of them is over 1. The axis is the epoch where every
    record has one and they span at least three (training numbers are averaged over it), else the
    step. Dotted lines are refreshes of the pseudo labels, full ones changes of phase. Of two
    numbers of a name, kind and step the later counts: a resumed run repeats the steps it had lost.

    ValueError where there is no record, a line is no JSON (a half-written last line is ignored), or
    there is nothing to draw.
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
        found = sorted({key for r in ordered for key in r})
        raise ValueError(
            f'found no loss, learning rate, mAP or rank-k among {found} of {len(ordered)} records'
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
    """What `plot_curves` draws, against the step: panel ('loss', 'rate', 'score') -> name ->
    (positions, values).
    """
    return _lines(_merged(records), 'step', None)


def _merged(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One record a kind and step, by step."""
    history: dict[tuple[str, float], dict[str, Any]] = {}
    for record in records:
        if _is_number(record.get('step')):
            history.setdefault((str(record.get('kind', 'train')), record['step']), {}).update(
                record
            )
    return sorted(history.values(), key=lambda r: r['step'])


def _load(metrics: PathLike | Iterable[Record]) -> tuple[Sequence[Record], str]:
    """The records and a name for messages."""
    if not isinstance(metrics, str | os.PathLike):
        return list(metrics), 'the list'
    text = pathlib.Path(metrics).read_text(encoding='utf-8').splitlines()
    numbered = [(number, line) for number, line in enumerate(text, 1) if line.strip()]
    records: list[Record] = []
    for number, line in numbered:
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            if number == numbered[-1][0]:
                break
            raise ValueError(
                f'line {number} of {metrics} is no JSON object: {line[:60]!r}; expected one record'
                ' a line'
            ) from error
    return records, str(metrics)


def _axis(records: Sequence[Record]) -> str:
    """'epoch' where it says more than 'step'; an epoch that starts again with each phase would
    fold the lines back.
    """
    epochs = [r.get('epoch') for r in records]
    usable = (
        all(_is_number(e) for e in epochs) and len(set(epochs)) >= 3 and epochs == sorted(epochs)
    )  # type: ignore[type-var]
    return 'epoch' if usable else 'step'


def _lines(
    records: Sequence[Record], axis: str, losses: Sequence[str] | None
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """For each panel a dict from a number's name to (positions, values)."""
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
    """The panel a number belongs to, by its name and its record's kind."""
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
    """Means of y over equal x, then over at most POINTS stretches; a NaN stays a gap."""
    places, group = np.unique(x, return_inverse=True)
    means = np.bincount(group, y) / np.bincount(group)
    if len(places) <= POINTS:
        return places, means
    stretch = np.arange(len(places)) * POINTS // len(places)
    size = np.bincount(stretch)
    return np.bincount(stretch, places) / size, np.bincount(stretch, means) / size


def _draw(axes: Axes, lines: dict[str, tuple[np.ndarray, np.ndarray]], panel: str) -> None:
    for number, (key, (x, y)) in enumerate(lines.items()):
        # One point has no line: it needs a marker to be seen.
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
    """Lines where pseudo labels were made anew and where a phase began, with the phase's name
    above the first panel.
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
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
