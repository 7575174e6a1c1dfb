"""Ranks of the matches in galleries that are too large for whole rows of distances."""

import numpy as np
from tqdm import tqdm

from jreid.retrieval.distances import Distance, finish, squared_distances, unit
from jreid.retrieval.relevance import Relevance
from jreid.retrieval.threads import in_turn

# Gallery images per tile: sorted in the cache, and few enough that a float64 copy is small.
_COLUMNS = 4096
# Queries per tile for each of a block: each tile converts its part of the gallery anew.
_BLOCKS = 4


def streamed_ranks(
    query: np.ndarray,
    gallery: np.ndarray,
    related: Relevance,
    *,
    distance: Distance,
    normalise: bool,
    block_size: int,
    progress: bool = False,
) -> np.ndarray:
    """Returns the rank (from 1) of every match, by query and ascending within a query.

    The ranks are those of `match_ranks` on whole rows. The distances of a block of queries to their
    matches come first; then every tile of the gallery adds the number of images that are nearer.
    Memory is that of a tile of 4 `block_size` x 4,096 per thread, whatever the size of the gallery,
    which may lie in a memory-mapped file.
    """

    def prepare(features: np.ndarray) -> np.ndarray:
        for _ in range(normalise + (distance == 'cosine')):
            features = unit(features)
        return features

    step = _BLOCKS * block_size
    tiles = -(-query.shape[0] // step) * -(-gallery.shape[0] // _COLUMNS)
    parts = []
    with tqdm(total=tiles, desc='ranks', unit='tile', disable=None if progress else True) as bar:
        for start in range(0, query.shape[0], step):
            x = prepare(query[start : start + step])
            block = _Block(related, start, x.shape[0])
            # The products of the tiles below, not of single pairs: other sums round otherwise, and
            # copies of a match would no longer tie with it.
            listed = np.unique(block.column)
            for first in range(0, len(listed), _COLUMNS):
                columns = listed[first : first + _COLUMNS]
                y = prepare(gallery[columns])
                block.look_up(columns, finish(squared_distances(x, y), x, y, distance))

            def nearer(first: int, x: np.ndarray = x, block: _Block = block) -> np.ndarray:
                y = prepare(gallery[first : first + _COLUMNS])
                return block.count(first, finish(squared_distances(x, y), x, y, distance))

            for counted in in_turn(nearer, range(0, gallery.shape[0], _COLUMNS)):
                block.nearer += counted
                bar.update()
            parts.append(block.ranks())
    return np.concatenate(parts)


class _Block:
    """The matches of a block of queries, and how many images are nearer than each."""

    def __init__(self, related: Relevance, start: int, rows: int) -> None:
        self.row, self.column = related.entries(start, start + rows)
        self.bounds = np.searchsorted(self.row, np.arange(rows + 1))
        self.value = np.empty(self.row.shape[0], np.float32)
        self.nearer = np.zeros(self.row.shape[0], np.int64)
        # Matches are ordered among themselves at the end, by the same numbers.
        row, column = related.left_out_entries(start, start + rows)
        hidden = np.concatenate([self.column, column])
        order = np.argsort(hidden, kind='stable')
        self.hidden = hidden[order]
        self.hidden_row = np.concatenate([self.row, row])[order]
        self.junk = related.junk

    def look_up(self, columns: np.ndarray, tile: np.ndarray) -> None:
        """Takes the distances of the matches from a tile of the given gallery rows."""
        at = np.searchsorted(columns, self.column)
        there = columns[np.minimum(at, len(columns) - 1)] == self.column
        self.value[there] = tile[self.row[there], at[there]]

    def count(self, first: int, tile: np.ndarray) -> np.ndarray:
        """Counts the images of rows `first ...` nearer than each match; writes to the tile."""
        end = first + tile.shape[1]
        a, b = np.searchsorted(self.hidden, [first, end])
        tile[self.hidden_row[a:b], self.hidden[a:b] - first] = np.inf
        a, b = np.searchsorted(self.junk, [first, end])
        tile[:, self.junk[a:b] - first] = np.inf
        ordered = np.empty(tile.shape[1], tile.dtype)
        lower, upper = np.zeros((2, *self.row.shape), np.int64)
        for i, (a, b) in enumerate(zip(self.bounds[:-1], self.bounds[1:], strict=True)):
            if a < b:
                np.copyto(ordered, tile[i])
                ordered.sort()
                lower[a:b] = ordered.searchsorted(self.value[a:b], 'left')
                upper[a:b] = ordered.searchsorted(self.value[a:b], 'right')
        # Of images at the distance of a match, those with a lower gallery row count as nearer.
        for j in np.flatnonzero(lower < upper):
            before = max(self.column[j] - first, 0)
            lower[j] += np.count_nonzero(tile[self.row[j], :before] == self.value[j])
        return lower

    def ranks(self) -> np.ndarray:
        """Returns the ranks, by query and ascending within a query."""
        order = np.lexsort((self.column, self.value, self.row))
        own = np.arange(order.shape[0]) - self.bounds[self.row]
        return self.nearer[order] + own + 1
