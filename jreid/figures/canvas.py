"""Colours, fonts and axes that all figures share, and the atomic write of PNG files."""

from __future__ import annotations

import contextlib
import os
import pathlib
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jreid.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

# The palette of Okabe and Ito, distinguishable under the common kinds of colour blindness. Its
# yellow is missing, since it is too pale on white.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK = (
    '#0072B2',
    '#E69F00',
    '#009E73',
    '#D55E00',
    '#CC79A7',
    '#56B4E9',
    '#000000',
)
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
GREY = '#8A8A8A'
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
LINES = ('-', '--', '-.', ':')

# In inches. At 150 dots per inch a figure is 1200 pixels wide and a 10 point letter 21 pixels high.
WIDTH = 8.0
DPI = 150


def new_figure(height: float = 5.0) -> Figure:
    """Makes an empty figure of 1200 by `150 height` pixels on an Agg canvas, without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    """Escapes mathematics and the leading underscore by which matplotlib hides a legend entry."""
    text = text.replace('$', r'\$')
    return f' {text}' if text.startswith('_') else text


def dress(axes: Axes, *, x: str = '', y: str = '', title: str = '', grid: bool = True) -> None:
    """Sets labels, grid and a title in lines of at most 90 letters."""
    if title:
        axes.set_title('\n'.join(textwrap.wrap(plain(title), 90)), fontsize=12)
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    axes.tick_params(labelsize=10)
    if grid:
        axes.grid(True, color='#D9D9D9', linewidth=0.7)
        axes.set_axisbelow(True)
    axes.spines['top'].set_visible(False)


@contextlib.contextmanager
def atomic_png(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path that is moved onto `path` at the end and removed after an error.

    The folder is made if it is missing.

    Raises:
      ValueError: `path` does not end in .png.
    """
    final = pathlib.Path(path)
    if final.suffix.lower() != '.png':
        raise ValueError(
            f'figures are PNG files, but the path is {str(final)!r}; give it the suffix .png'
        )
    with replacing(final) as temporary:
        yield temporary


def save(figure: Figure, path: PathLike) -> pathlib.Path:
    """Writes the figure at its full size and returns the path."""
    with atomic_png(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
    return pathlib.Path(path)
