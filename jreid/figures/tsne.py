"""Two domains' features in the plane."""

from __future__ import annotations

import pathlib
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 14  # labels with a colour and a marker of their own: 7 colours, 8 markers, no pair twice
ITERATIONS = 500


def tsne_coordinates(features: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """Coordinates [n, 2] of `features` [n, d]: PCA to at most 50 dimensions, then t-SNE (van der
    Maaten and Hinton 2008).

    500 iterations of Barnes-Hut from a PCA start on one thread; perplexity 30, or (n - 1) / 3 where
    n is small. The same features and seed give the same coordinates on one machine.

    ValueError for fewer than 4 points, values that are not finite, and points that are all the
    same.
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
    # One thread: with several the order of the sums, and so the picture, changes from run to run.
    with threadpool_limits(limits=1):
        size = min(50, *x.shape)
        if size < x.shape[1]:
            x = PCA(size, svd_solver='full', random_state=seed).fit_transform(x)
        if x.shape[1] == 1:  # the start is by PCA to two dimensions
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
    source: ArrayLike,
    target: ArrayLike,
    *,
    source_labels: ArrayLike | None = None,
    target_labels: ArrayLike | None = None,
    count: int = 1000,
    seed: int = 0,
    title: str = '',
) -> pathlib.Path:
    """Draws both domains' features in one t-SNE, coloured by domain and, in a second panel, by the
    target's (pseudo) label.

    `source` [n, d] and `target` [m, d]; `count` points in all, half a domain, are drawn by `seed`:
    whole identities where labels are given, so that clusters stay clusters. The labels most
    frequent among the drawn points are coloured, the others and -1 (noise, unknown) are grey. The
    second panel shows the source's labels where only those are given, and is left out without any
    labels.

    ValueError for an empty domain, features of different width, and labels that are not one a
    point.
    """
    domains = [np.asarray(source, np.float32), np.asarray(target, np.float32)]
    labels = [
        None if given is None else np.asarray(given) for given in (source_labels, target_labels)
    ]
    if (
        any(x.ndim != 2 or x.size == 0 for x in domains)
        or domains[0].shape[1] != domains[1].shape[1]
    ):
        raise ValueError(
            f'source has shape {domains[0].shape} and target {domains[1].shape}; expected [n, d]'
            ' and [m, d], neither empty'
        )
    if count < 4:
        raise ValueError(f'count is {count}; expected at least 4 points to draw')
    for name, x, given in zip(('source', 'target'), domains, labels, strict=True):
        if given is not None and given.shape != (len(x),):
            raise ValueError(
                f'{name}_labels has shape {given.shape}, but there are {len(x)} {name} features;'
                ' expected one label each'
            )
    # A domain smaller than its half leaves the rest to the other.
    share = [
        max(count // 2, count - len(domains[1])),
        max(count - count // 2, count - len(domains[0])),
    ]
    rng = np.random.default_rng(seed)
    rows = [
        _subsample(len(x), given, wanted, rng)
        for x, given, wanted in zip(domains, labels, share, strict=True)
    ]
    points = tsne_coordinates(
        np.concatenate([x[r] for x, r in zip(domains, rows, strict=True)]), seed=seed
    )
    parts = [points[: len(rows[0])], points[len(rows[0]) :]]

    labelled = next((domain for domain in (1, 0) if labels[domain] is not None), None)
    figure = new_figure(4.9 if labelled is not None else 7.0)
    panels = figure.subplots(
        1, 1 if labelled is None else 2, sharex=True, sharey=True, squeeze=False
    )[0]
    dot: dict[str, Any] = {'s': 14, 'alpha': 0.7, 'linewidths': 0.2, 'edgecolors': 'white'}
    below = -0.16 if labelled is not None else -0.1
    panels[0].scatter(*parts[0].T, color=BLUE, marker='o', label=f'source ({len(rows[0])})', **dot)
    panels[0].scatter(
        *parts[1].T, color=VERMILLION, marker='^', label=f'target ({len(rows[1])})', **dot
    )
    dress(panels[0], x='t-SNE 1', y='t-SNE 2', title='by domain')
    if labelled is not None:
        name = ('source', 'target')[labelled]
        given = labels[labelled]
        assert given is not None
        panels[1].scatter(
            *parts[1 - labelled].T,
            color='#DDDDDD',
            s=8,
            marker='.',
            label=('target', 'source')[labelled],
        )
        _by_label(panels[1], parts[labelled], given[rows[labelled]])
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


def _subsample(
    size: int, labels: np.ndarray | None, count: int, rng: np.random.Generator
) -> np.ndarray:
    """At most `count` rows of `size`, ascending: whole labels in random order, the last one cut;
    a row of label -1 stands alone.
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
    """Colours the SHOWN most frequent labels, with a marker each; the others are grey."""
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
