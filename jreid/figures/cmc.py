"""Cumulative matching characteristics of several systems in one figure."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jreid.figures.canvas import COLOURS, LINES, MARKERS, PathLike, dress, new_figure, plain, save


def plot_cmc(
    path: PathLike, curves: Mapping[str, Any], *, title: str = '', max_rank: int = 20
) -> pathlib.Path:
    """Draws matching rates in percent against rank 1..max_rank, one line per system.

    The legend has rank-1 and, if known, mAP.

    Args:
      curves: name -> CMC, or the pair (CMC, mAP), with values in 0..1. A CMC is an array [R] with
        rank 1 first, or a mapping from rank to rate if only some ranks are known.

    Raises:
      ValueError: no curves, a rate outside 0..1, or a rate that falls with the rank.
    """
    if not curves:
        raise ValueError('found 0 curves to draw; expected at least one {name: CMC array}')
    if max_rank < 1:
        raise ValueError(f'max_rank is {max_rank}; expected at least 1')
    figure = new_figure()
    axes = figure.add_subplot()
    longest, lowest = 1, 100.0
    for number, (name, value) in enumerate(curves.items()):
        ranks, rates, mean_ap = _read(name, value)
        label = plain(name)
        notes = [f'rank-1 {100 * rates[0]:.1f} %'] if ranks[0] == 1 else []
        notes += [] if mean_ap is None else [f'mAP {100 * mean_ap:.1f} %']
        label += f' ({", ".join(notes)})' if notes else ''
        shown = ranks <= max_rank
        if not shown.any():
            raise ValueError(
                f'the curve {name!r} starts at rank {ranks[0]}, but max_rank is {max_rank}; draw'
                ' more ranks'
            )
        axes.plot(
            ranks[shown],
            100 * rates[shown],
            label=label,
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number // len(COLOURS) % len(LINES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linewidth=1.8,
            clip_on=False,
        )
        longest, lowest = (
            max(longest, int(ranks[shown][-1])),
            min(lowest, 100 * float(rates[shown].min())),
        )
    dress(axes, x='rank', y='matching rate (%)', title=title)
    step = 1 if longest <= 20 else -(-longest // 20)
    axes.set_xticks([1, *range(2 if step == 1 else step, longest + 1, step)])
    axes.set_xlim(0.5, longest + 0.5)
    axes.set_ylim(10 * max(0, np.floor(lowest / 10) - 1), 100)
    axes.legend(loc='lower right', fontsize=10 if len(curves) <= 8 else 8)
    return save(figure, path)


def _read(name: str, value: Any) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Returns the checked ranks [R], rates [R] and mAP of one entry of `curves`."""
    mean_ap = None
    if (
        isinstance(value, tuple)
        and len(value) == 2
        and (isinstance(value[0], Mapping) or np.ndim(value[0]) == 1)
    ):
        value, mean_ap = value
    if isinstance(value, Mapping):
        ranks = np.array(sorted(int(rank) for rank in value))
        rates = np.array([float(value[rank]) for rank in sorted(value, key=int)])
    else:
        rates = np.asarray(value, np.float64)
        ranks = np.arange(1, rates.size + 1)
    if rates.ndim != 1 or rates.size == 0:
        raise ValueError(
            f'the curve {name!r} has shape {rates.shape}; expected a CMC array [R] with rank 1'
            ' first'
        )
    if ranks[0] < 1:
        raise ValueError(f'the curve {name!r} has a rank {ranks[0]}; ranks start at 1')
    checked = rates if mean_ap is None else np.append(rates, float(mean_ap))
    if not ((checked >= 0) & (checked <= 1 + 1e-6)).all():
        wrong = checked[~((checked >= 0) & (checked <= 1 + 1e-6))][0]
        raise ValueError(
            f'the curve {name!r} holds {wrong}; expected rates and mAP in 0..1 (divide percent by'
            ' 100)'
        )
    if (np.diff(rates) < -1e-6).any():
        raise ValueError(
            f'the curve {name!r} falls after rank'
            f' {ranks[np.flatnonzero(np.diff(rates) < -1e-6)[0]]}; a CMC never falls'
        )
    return ranks, rates, None if mean_ap is None else float(mean_ap)
