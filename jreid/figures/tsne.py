"""Features of two domains in the plane, by t-SNE."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jreid.figures.canvas import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    VERMILLION,
    PathLike,
    dress,
    new_figure,
    save,
)
from jreid.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Labels that have a colour and a marker of their own: 7 colours and 8 markers, no pair twice.
SHOWN = 14
ITERATIONS = 500


def tsne_coordinates(features: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """Computes coordinates [n, 2] of `features` [n, d] by PCA and t-SNE.

    PCA reduces the features to at most 50 dimensions. Then t-SNE (van der Maaten and Hinton 2008)
    runs 500 iterations of Barnes-Hut from a PCA start. The perplexity is 30, or (n - 1) / 3 if that
    is less. The same features and seed give the same coordinates on one machine.

    Raises:
      ValueError: fewer than 4 points, values that are not finite, or points that are all equal.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = np.asarray(features, np.float32)
    if x.ndim != 2 or x.shape[0] < 4 or x.shape[1] == 0:
        raise ValueError(f'features have shape {x.shape}; expected [n, d] with at least 4 points')
    broken = int((~np.isfinite(x)).any(axis=1).sum())
    if broken:
        raise ValueError(
            f'{broken} of {x.shape[0]} features hold a value that is not finite; t-SNE needs finite'
            ' numbers'
        )
    if (x == x[0]).all():
        raise ValueError(
            f'all {x.shape[0]} features are the same; t-SNE needs points that differ (has the'
            ' network collapsed?)'
        )
    # With several threads the order of the sums, and so the picture, would change between runs.
    with threadpool_limits(limits=1):
        size = min(50, *x.shape)
        if size < x.shape[1]:
            x = PCA(size, svd_solver='full', random_state=seed).fit_transform(x)
        if x.shape[1] == 1:
            # The start is a PCA to two dimensions.
            x = np.pad(x, ((0, 0), (0, 1)))
        tsne = TSNE(
            perplexity=min(30.0, (len(x) - 1) / 3),
            max_iter=ITERATIONS,
            init='pca',
            learning_rate='auto',
            random_state=seed,
            n_jobs=1,
        )
        return tsne.fit_transform(x)


def plot_tsne(
    path: PathLike,
    source: ArrayLike | None,
    target: ArrayLike,
    *,
    source_labels: ArrayLike | None = None,
    target_labels: ArrayLike | None = None,
    count: int = 1000,
    seed: int = 0,
    title: str = '',
    points_file: PathLike | None = None,
) -> pathlib.Path:
    """Draws both domains in one t-SNE, coloured by domain and, in a second panel, by label.

    The second panel shows the (pseudo) labels of the target, or those of the source if the target
    has none. Without any labels there is one panel. The most frequent labels among the drawn points
    have colours; the others and -1 (noise or unknown) are grey.

    Args:
      source, target: features [n, d] and [m, d]; the source None where there is none.
      source_labels, target_labels: one label per point.
      count: points to draw, half of them from each domain. With labels, whole identities are drawn,
        so that clusters stay complete.
      points_file: a CSV file for what was drawn: `domain` ('source' or 'target'), the `row` among
        its features, `label` ('' for none) and the coordinates `x` and `y`.

    Raises:
      ValueError: an empty domain, features of different widths, another number of labels than
        points, or labels that are not whole numbers.
    """
    alone = source is None
    wide = np.asarray(target, np.float32)
    domains = [wide[:0] if source is None else np.asarray(source, np.float32), wide]
    labels = [
        None if values is None else np.asarray(values) for values in (source_labels, target_labels)
    ]
    if (
        any(x.ndim != 2 or x.size == 0 for x in domains[alone:])
        or domains[0].shape[1] != domains[1].shape[1]
    ):
        raise ValueError(
            f'source has shape {domains[0].shape} and target {domains[1].shape}; expected [n, d]'
            ' and [m, d], neither empty'
        )
    if count < 4:
        raise ValueError(f'count is {count}; expected at least 4 points to draw')
    for name, x, label in zip(('source', 'target'), domains, labels, strict=True):
        if label is not None and label.shape != (len(x),):
            raise ValueError(
                f'{name}_labels has shape {label.shape}, but there are {len(x)} {name} features;'
                ' expected one label each'
            )
        if label is not None and label.dtype.kind not in 'iu':
            raise ValueError(f'{name}_labels are {label.dtype}; expected whole numbers')
    # A domain with fewer points than its half leaves the rest to the other.
    share = [
        max(count // 2, count - len(domains[1])),
        max(count - count // 2, count - len(domains[0])),
    ]
    rng = np.random.default_rng(seed)
    rows = [
        _subsample(len(x), label, size, rng)
        for x, label, size in zip(domains, labels, share, strict=True)
    ]
    points = tsne_coordinates(
        np.concatenate([x[r] for x, r in zip(domains, rows, strict=True)]), seed=seed
    )
    parts = [points[: len(rows[0])], points[len(rows[0]) :]]
    if points_file is not None:
        _write_points(points_file, parts, rows, labels)

    labelled = next((domain for domain in (1, 0) if labels[domain] is not None), None)
    figure = new_figure(4.9 if labelled is not None else 7.0)
    panels = figure.subplots(
        1, 1 if labelled is None else 2, sharex=True, sharey=True, squeeze=False
    )[0]
    dot: dict[str, Any] = {'s': 14, 'alpha': 0.7, 'linewidths': 0.2, 'edgecolors': 'white'}
    below = -0.16 if labelled is not None else -0.1
    if not alone:
        panels[0].scatter(
            *parts[0].T, color=BLUE, marker='o', label=f'source ({len(rows[0])})', **dot
        )
    panels[0].scatter(
        *parts[1].T, color=VERMILLION, marker='^', label=f'target ({len(rows[1])})', **dot
    )
    dress(panels[0], x='t-SNE 1', y='t-SNE 2', title='by domain')
    if labelled is not None:
        name = ('source', 'target')[labelled]
        label = labels[labelled]
        assert label is not None
        if not alone:
            panels[1].scatter(
                *parts[1 - labelled].T,
                color='#DDDDDD',
                s=8,
                marker='.',
                label=('target', 'source')[labelled],
            )
        _by_label(panels[1], parts[labelled], label[rows[labelled]])
        dress(
            panels[1],
            x='t-SNE 1',
            y='t-SNE 2',
            title=f'{name}, by {"(pseudo) " if labelled else ""}label',
        )
    for axes in panels:
        axes.legend(
            loc='upper center',
            bbox_to_anchor=(0.5, below),
            ncols=4,
            fontsize=9,
            markerscale=1.6,
            columnspacing=1.0,
            handletextpad=0.3,
        )
    if title:
        figure.suptitle(title.replace('$', r'\$'), fontsize=13)
    return save(figure, path)


def _write_points(
    path: PathLike,
    parts: Sequence[np.ndarray],
    rows: Sequence[np.ndarray],
    labels: Sequence[np.ndarray | None],
) -> None:
    lines = ['domain,row,label,x,y']
    for name, at, row, label in zip(('source', 'target'), parts, rows, labels, strict=True):
        known = np.full(len(row), -1) if label is None else label[row]
        lines += [
            f'{name},{i},{"" if of < 0 else of},{x:.3f},{y:.3f}'
            for i, of, (x, y) in zip(row.tolist(), known.tolist(), at.tolist(), strict=True)
        ]
    write_text(pathlib.Path(path), '\n'.join([*lines, '']))


def _subsample(
    size: int, labels: np.ndarray | None, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws at most `count` of `size` rows, ascending.

    Rows of the same label are drawn together, the last label as far as there is room. A row of
    label -1 stands alone.
    """
    if size <= count:
        return np.arange(size)
    if labels is None:
        return np.sort(rng.choice(size, count, replace=False))
    known = labels >= 0
    names, group = np.unique(labels, return_inverse=True)
    place = np.where(known, rng.permutation(len(names))[group], rng.uniform(0, len(names), size))
    return np.sort(np.argsort(place, kind='stable')[:count])


def _by_label(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Draws the SHOWN most frequent labels with a colour and marker each, the others in grey."""
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    top = np.sort(names[np.argsort(-sizes, kind='stable')[:SHOWN]])
    rest = ~np.isin(labels, top)
    if rest.any():
        others = len(names) - len(top)
        text = ' and '.join(
            [f'{others} more'] * (others > 0) + ['no label'] * bool((labels < 0).any())
        )
        x, y = points[rest].T
        axes.scatter(x, y, color=GREY, s=9, marker='x', linewidths=0.6, label=text)
    for number, name in enumerate(top):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        x, y = points[labels == name].T
        axes.scatter(
            x,
            y,
            s=22,
            linewidths=0.2,
            edgecolors='white',
            label=str(name),
            color=colour,
            marker=marker,
        )
