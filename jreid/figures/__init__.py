"""Figures for reports: plain arrays and a path in, one PNG file out.

Every function writes atomically, so that a reader never sees half a file, and returns the path. It
leaves pyplot's global state alone and is safe inside a training loop. Matplotlib, Pillow and
scikit-learn load on the first call.
"""

from jreid.figures.attention import attention_sheet, overlay
from jreid.figures.cmc import plot_cmc
from jreid.figures.contact import contact_sheet
from jreid.figures.curves import plot_curves
from jreid.figures.niec import plot_niec
from jreid.figures.ranked import pick_queries, ranked_sheet
from jreid.figures.tsne import plot_tsne, tsne_coordinates

__all__ = [
    'attention_sheet',
    'contact_sheet',
    'overlay',
    'pick_queries',
    'plot_cmc',
    'plot_curves',
    'plot_niec',
    'plot_tsne',
    'ranked_sheet',
    'tsne_coordinates',
]
