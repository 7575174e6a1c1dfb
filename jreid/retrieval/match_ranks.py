"""Ranks of the matches of every query, from blocks of distances."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from jreid.retrieval.relevance import Relevance


@dataclasses.dataclass(frozen=True)
class BlockRanks:
    """Ranks of the matches of a block of queries.

    Attributes:
      hidden: `[b, g]` distances, infinite where a gallery image is left out.
      ordered: `[b, g]` the rows of `hidden`, sorted.
      row, column: `[m]` query (within the block) and gallery row of every match, by row, then rank.
      rank: `[m]` rank of every match, from 1.
      tied: `[m]` whether the distance of the match occurs more than once.
    """

    hidden: np.ndarray
    ordered: np.ndarray
    row: np.ndarray
    column: np.ndarray
    rank: np.ndarray
    tied: np.ndarray


def match_ranks(
    distance_blocks: Iterable[tuple[int, np.ndarray]], related: Relevance
) -> np.ndarray:
    """Returns the rank (from 1) of every match, by query and ascending within a query.

    Images that are left out for a query take no rank.
    """
    return np.concatenate(
        [block_ranks(start, block, related).rank for start, block in distance_blocks]
    )


def block_ranks(start: int, block: np.ndarray, related: Relevance) -> BlockRanks:
    """Computes the ranks of the matches of queries `start ...` with distances `[b, g]`.

    The rank of a match is one more than the number of nearer images, so that no permutation of the
    gallery is needed. The distances of a row are sorted as plain numbers, 5 times as fast as an
    argsort, and the few matches are looked up in them. If the distance of a match occurs more than
    once, images at that distance with a lower gallery row count as nearer. This is the order of a
    stable sort by (distance, gallery row).
    """
    hidden = related.hide(block, start)
    row, column = related.entries(start, start + block.shape[0])
    value = hidden[row, column]
    ordered = np.sort(hidden, axis=1)
    _check_numbers(ordered, start)
    bounds = np.searchsorted(row, np.arange(block.shape[0] + 1))
    lower, upper = np.empty_like(row), np.empty_like(row)
    for i, (a, b) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        lower[a:b] = ordered[i].searchsorted(value[a:b], 'left')
        upper[a:b] = ordered[i].searchsorted(value[a:b], 'right')
    rank, tied = lower + 1, upper - lower > 1
    for i in np.unique(row[tied]):
        a, b = bounds[i], bounds[i + 1]
        kept = related.kept(start + int(i))
        for j in a + np.flatnonzero(tied[a:b]):
            rank[j] += np.count_nonzero((hidden[i, : column[j]] == value[j]) & kept[: column[j]])
    order = np.lexsort((rank, row))
    return BlockRanks(hidden, ordered, row, column[order], rank[order], tied[order])


def _check_numbers(ordered: np.ndarray, start: int) -> None:
    """Checks that no distance is NaN."""
    # A sort puts NaN last, so the last column is enough.
    bad = np.flatnonzero(np.isnan(ordered[:, -1]))
    if bad.size:
        raise ValueError(
            f'distances of query {start + bad[0]} (and {bad.size - 1} more of its block) hold NaN;'
            ' expected numbers (infinity is allowed)'
        )
