"""Ranks of the matches of every query, from blocks of distances."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from jreid.retrieval.relevance import Relevance
from jreid.retrieval.threads import in_turn

T = TypeVar('T')


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
    parts: Iterable[T], distances: Callable[[T], tuple[int, np.ndarray]], related: Relevance
) -> np.ndarray:
    """Returns the rank (from 1) of every match, by query and ascending within a query.

    Images that are left out for a query take no rank.

    Args:
      parts: of the queries, in order.
      distances: a part -> its first query and its distances `[b, g]`, called by several threads.
    """

    def ranks(part: T) -> np.ndarray:
        start, block = distances(part)
        # One row for the whole block stays in the cache: fresh memory for all rows would take as
        # long as their sorting.
        ordered = np.empty(block.shape[1], block.dtype)
        return _rank(start, block, related, itertools.repeat(ordered, block.shape[0]))[2]

    return np.concatenate(list(in_turn(ranks, parts)))


def block_ranks(start: int, block: np.ndarray, related: Relevance) -> BlockRanks:
    """Computes the ranks of the matches of queries `start ...` with distances `[b, g]`."""
    ordered = np.empty_like(block)
    return BlockRanks(related.hide(block, start), ordered, *_rank(start, block, related, ordered))


def _rank(
    start: int, block: np.ndarray, related: Relevance, ordered: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns row, column, rank and tied of `BlockRanks`; sorts each row into one of `ordered`.

    The rank of a match is one more than the number of nearer images, so that no permutation of the
    gallery is needed. The distances of a row are sorted as plain numbers, 5 times as fast as an
    argsort, and the few matches are looked up in them. If the distance of a match occurs more than
    once, images at that distance with a lower gallery row count as nearer. This is the order of a
    stable sort by (distance, gallery row).
    """
    stop = start + block.shape[0]
    row, column = related.entries(start, stop)
    gone_row, gone = related.left_out_entries(start, stop)
    each = np.arange(block.shape[0] + 1)
    bounds, gone_bounds = np.searchsorted(row, each), np.searchsorted(gone_row, each)
    rank, tied = np.empty_like(row), np.empty(row.shape, bool)
    bad = []
    for i, (distances, sorts) in enumerate(zip(block, ordered, strict=True)):
        np.copyto(sorts, distances)
        sorts[gone[gone_bounds[i] : gone_bounds[i + 1]]] = np.inf
        sorts[related.junk] = np.inf
        sorts.sort()
        # NaN comes last.
        if np.isnan(sorts[-1]):
            bad.append(start + i)
        part = slice(bounds[i], bounds[i + 1])
        value = distances[column[part]]
        lower = sorts.searchsorted(value, 'left')
        rank[part] = lower + 1
        tied[part] = sorts.searchsorted(value, 'right') - lower > 1
        if tied[part].any():
            kept = related.kept(start + i)
            for j in bounds[i] + np.flatnonzero(tied[part]):
                before = slice(column[j])
                same = distances[before] == distances[column[j]]
                rank[j] += np.count_nonzero(same & kept[before])
    if bad:
        raise ValueError(
            f'distances of query {bad[0]} (and {len(bad) - 1} more of its block) hold NaN;'
            ' expected numbers (infinity is allowed)'
        )
    order = np.lexsort((rank, row))
    return row, column[order], rank[order], tied[order]
