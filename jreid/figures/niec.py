"""The NIEC sweep, by which DMTNet estimates the number of target identities."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jreid.figures.canvas import BLACK, BLUE, GREEN, VERMILLION, PathLike, dress, new_figure, save


def plot_niec(
    path: PathLike,
    totals: ArrayLike,
    accuracy: ArrayLike,
    silhouette: ArrayLike,
    *,
    chosen: int,
    source_identities: int,
    true: int | None = None,
    title: str = '',
) -> pathlib.Path:
    """Draws both scores of NIEC against the total number of clusters C, their argmaxes and C*.

    Args:
      totals, accuracy, silhouette: [n], in any order: C, ACC (0..1, Eq. 11) and CMM (-1..1, Eq. 12)
        of DMTNet. A NaN score leaves a gap.
      chosen: C*, a total. The upper axis shows the estimate of the target, C* - source_identities.
      true: the real number of target identities, marked as known to the evaluation only.

    Raises:
      ValueError: empty or unequal arrays, a score without any number, or C* below
        `source_identities`.
    """
    order = np.argsort(np.asarray(totals), kind='stable')
    columns = [
        np.asarray(totals),
        np.asarray(accuracy, np.float64),
        np.asarray(silhouette, np.float64),
    ]
    if (
        len({column.shape for column in columns}) != 1
        or columns[0].ndim != 1
        or columns[0].size == 0
    ):
        raise ValueError(
            'totals, accuracy and silhouette have shapes'
            f' {", ".join(str(c.shape) for c in columns)}; expected the same [n], n > 0'
        )
    count, acc, cmm = (column[order] for column in columns)
    for name, score in (('accuracy', acc), ('silhouette', cmm)):
        if not np.isfinite(score).any():
            raise ValueError(
                f'none of the {score.size} values of {name} is a number; expected one score for'
                ' each total'
            )
    if chosen < source_identities:
        raise ValueError(
            f'chosen is {chosen}, below the {source_identities} source identities; pass C*, the'
            " total, not the target's estimate"
        )
    # The first maximum in ascending C, since ties go to the smallest C in the estimate.
    best_acc, best_cmm = int(np.nanargmax(acc)), int(np.nanargmax(cmm))

    figure = new_figure(5.6)
    left = figure.add_subplot()
    right = left.twinx()
    lines = left.plot(
        count, acc, '-o', color=BLUE, markersize=4, linewidth=1.8, label='ACC on the probes'
    )
    lines += right.plot(
        count,
        cmm,
        '--s',
        color=VERMILLION,
        markersize=4,
        linewidth=1.8,
        label='CMM, mean silhouette of the target',
    )
    big: dict[str, Any] = {
        'linestyle': 'none',
        'markersize': 13,
        'markerfacecolor': 'none',
        'markeredgewidth': 2,
    }
    lines += left.plot(
        count[best_acc],
        acc[best_acc],
        marker='o',
        markeredgecolor=BLUE,
        label=f'best ACC: C = {count[best_acc]}',
        **big,
    )
    lines += right.plot(
        count[best_cmm],
        cmm[best_cmm],
        marker='s',
        markeredgecolor=VERMILLION,
        label=f'best CMM: C = {count[best_cmm]}',
        **big,
    )
    estimate = f'C* = {chosen}: {chosen - source_identities} target identities'
    lines.append(left.axvline(chosen, color=BLACK, linewidth=1.8, label=estimate))
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
        y='ACC',
        title=title,
    )
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
