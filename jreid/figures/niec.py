"""The NIEC sweep, by which DMTNet estimates the number of target identities."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jreid.figures.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    VERMILLION,
    PathLike,
    dress,
    new_figure,
    save,
)


def plot_niec(
    path: PathLike,
    totals: ArrayLike,
    accuracy: ArrayLike | None,
    silhouette: ArrayLike,
    *,
    within: int | None = None,
    densest: int | None = None,
    chosen: int,
    source_identities: int,
    true: int | None = None,
    title: str = '',
) -> pathlib.Path:
    """Draws the scores of NIEC against the total number of clusters C, their argmaxes and C*.

    Args:
      totals, accuracy, silhouette: [n], in any order: C, ACC (0..1, Eq. 11) and CMM (-1..1, Eq. 12)
        of DMTNet. A NaN score leaves a gap. ACC is None by the rule 'witnesses', which has not it.
      within: the total that the cameras by themselves name, the second witness of that rule; None
        without.
      densest: the total that DBSCAN's most clusters name, the third witness; None without.
      chosen: C*, a total. The upper axis shows the estimate of the target, C* - source_identities.
      true: the real number of target identities, marked as known to the evaluation only.

    Raises:
      ValueError: empty or unequal arrays, a score without any number, or C* below
        `source_identities`.
    """
    order = np.argsort(np.asarray(totals), kind='stable')
    named = {
        'accuracy': ('ACC', 'ACC on the probes', accuracy),
        'silhouette': ('CMM', 'CMM, mean silhouette of the target', silhouette),
    }
    scores = {
        name: (short, label, np.asarray(values, np.float64))
        for name, (short, label, values) in named.items()
        if values is not None
    }
    count = np.asarray(totals)
    shapes = [count.shape, *(values.shape for _, _, values in scores.values())]
    if len(set(shapes)) != 1 or count.ndim != 1 or count.size == 0:
        raise ValueError(
            f'totals, {" and ".join(scores)} have shapes {", ".join(map(str, shapes))}; expected'
            ' the same [n], n > 0'
        )
    count = count[order]
    for name, (_, _, values) in scores.items():
        if not np.isfinite(values).any():
            raise ValueError(
                f'none of the {values.size} values of {name} is a number; expected one score for'
                ' each total'
            )
    if chosen < source_identities:
        raise ValueError(
            f'chosen is {chosen}, below the {source_identities} source identities; pass C*, the'
            " total, not the target's estimate"
        )
    figure = new_figure(5.6)
    left = figure.add_subplot()
    right = left.twinx() if 'accuracy' in scores else left
    lines: list[Any] = []
    looks = {
        'accuracy': (left, BLUE, 'o', '-'),
        'silhouette': (right, VERMILLION, 's', '--'),
    }
    for name, (short, label, values) in scores.items():
        axes, colour, marker, line = looks[name]
        # The first maximum in ascending C, since ties go to the smallest C in the estimate.
        ordered = values[order]
        best = int(np.nanargmax(ordered))
        style: dict[str, Any] = {'marker': marker, 'color': colour, 'markersize': 4}
        lines += axes.plot(count, ordered, linestyle=line, linewidth=1.8, label=label, **style)
        lines += axes.plot(
            count[best],
            ordered[best],
            marker=marker,
            markeredgecolor=colour,
            label=f'best {short}: C = {count[best]}',
            linestyle='none',
            markersize=13,
            markerfacecolor='none',
            markeredgewidth=2,
        )
    estimate = f'C* = {chosen}: {chosen - source_identities} target identities'
    lines.append(left.axvline(chosen, color=BLACK, linewidth=1.8, label=estimate))
    for total, what, dashes in (
        (within, 'the cameras by themselves', '--'),
        (densest, "DBSCAN's most clusters", '-.'),
    ):
        if total is not None:
            label = f'{what}: C = {total}'
            mark = left.axvline(total, color=GREY, linestyle=dashes, linewidth=1.5, label=label)
            lines.append(mark)
    if true is not None:
        truth = f'truth, for evaluation only: {true} target identities'
        lines.append(
            left.axvline(
                source_identities + true, color=GREEN, linestyle=':', linewidth=2.4, label=truth
            )
        )
    dress(
        left,
        x=f'C, clusters in total (of which {source_identities} source identities)',
        y='mean silhouette' if right is left else 'ACC',
        title=title,
    )
    left.margins(y=0.12)
    if right is not left:
        dress(right, y='CMM', grid=False)
        right.spines['right'].set_color(VERMILLION)
        for axes, colour in ((left, BLUE), (right, VERMILLION)):
            axes.yaxis.label.set_color(colour)
            axes.tick_params(axis='y', colors=colour)
            axes.margins(y=0.12)
    upper = left.secondary_xaxis(
        'top',
        functions=(
            lambda c: np.asarray(c) - source_identities,
            lambda t: np.asarray(t) + source_identities,
        ),
    )
    upper.set_xlabel('target identities, C less the source identities', fontsize=11)
    upper.tick_params(labelsize=10)
    figure.legend(handles=lines, loc='outside lower center', ncols=2, fontsize=10)
    return save(figure, path)
