"""The k nearest gallery images of every query, for figures and for inspection of errors."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from jreid.retrieval.checks import (
    Array,
    Labels,
    check_distances,
    check_pair,
    check_positive,
    check_switch,
)
from jreid.retrieval.distances import BLOCK, Distance, blocks, row_blocks, unit
from jreid.retrieval.relevance import Relevance, check_sizes, relevance


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The k nearest gallery images of every query, nearest first.

    Attributes:
      rows: `[q, k]` int32 gallery rows, -1 where fewer than k images are ranked.
      distances: `[q, k]` float32, infinite there.
      correct: `[q, k]` bool, whether the image shows the query's identity.
    """

    rows: np.ndarray
    distances: np.ndarray
    correct: np.ndarray


def top_ranked(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    k: int = 10,
    distance: Distance = 'euclidean',
    block_size: int = BLOCK,
    progress: bool = False,
    normalise: bool = False,
) -> Ranked:
    """Finds the k nearest gallery images of every query, by the rules of `evaluate`.

    Images that `evaluate` leaves out are not listed. Ties are ordered by gallery row. Arguments are
    those of `evaluate`.

    Raises:
      ValueError: NaN or infinite features, sizes that do not fit, or k below 1.
    """
    check_positive(k=k)
    check_switch(normalise=normalise)
    x, y = check_pair(query, gallery)
    if normalise:
        x, y = unit(x), unit(y)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    parts = blocks(x, y, distance=distance, block_size=block_size, progress=progress)
    return _first(parts, related, related.query_ids, related.gallery_ids, k)


def top_ranked_distances(
    distances: Float[Array, 'q g'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    k: int = 10,
    block_size: int = BLOCK,
) -> Ranked:
    """Finds the k nearest gallery images in a distance matrix (smaller is nearer).

    Raises:
      ValueError: sizes that do not fit, or k below 1.
    """
    check_positive(k=k)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    distances = check_distances(distances)
    check_sizes(distances.shape, related)
    parts = row_blocks(distances, block_size=block_size, progress=False)
    return _first(parts, related, related.query_ids, related.gallery_ids, k)


def _first(
    parts: Iterable[tuple[int, np.ndarray]],
    related: Relevance,
    qid: np.ndarray,
    gid: np.ndarray,
    k: int,
) -> Ranked:
    """Takes the first k images of every query from blocks of distances."""
    rows = np.full((qid.shape[0], k), -1, np.int32)
    distances = np.full((qid.shape[0], k), np.inf, np.float32)
    for start, block in parts:
        hidden = related.hide(block, start)
        if np.isnan(hidden).any():
            bad = start + int(np.flatnonzero(np.isnan(hidden).any(axis=1))[0])
            raise ValueError(
                f'distances of query {bad} hold NaN; expected numbers (infinity is allowed)'
            )
        last = min(k, hidden.shape[1]) - 1
        limit = np.partition(hidden, last, axis=1)[:, last, None]
        row, column = np.nonzero((hidden <= limit) & (hidden < np.inf))
        value = hidden[row, column]
        order = np.lexsort((column, value, row))
        row, column, value = row[order], column[order], value[order]
        position = np.arange(row.shape[0]) - np.searchsorted(row, row)
        listed = position < k
        at = (start + row[listed], position[listed])
        rows[at], distances[at] = column[listed], value[listed]
    correct = (rows >= 0) & (gid[rows] == qid[:, None]) & (qid[:, None] >= 0)
    return Ranked(rows, distances, correct)
