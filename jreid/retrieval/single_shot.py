"""Single-gallery-shot CMC, the protocol of CUHK03's classic splits, VIPeR and i-LIDS."""

import dataclasses
from collections.abc import Iterable, Sequence

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
from jreid.retrieval.match_ranks import BlockRanks, block_ranks
from jreid.retrieval.metrics import RANKS, check_ranks, check_valid
from jreid.retrieval.rank_distribution import RankDistribution
from jreid.retrieval.relevance import Relevance, check_sizes, relevance


@dataclasses.dataclass(frozen=True)
class SingleShot:
    """Single-gallery-shot CMC, the mean over the queries that have a match.

    Attributes:
      cmc: `[R]` float64, the share of queries whose match is among the first 1, 2, ..., R images.
      queries: number of queries in the mean.
      skipped: number of queries without a match.
      repeats: number of random galleries per query; None for the exact expectation over all.
      ranks: the ranks that `str` shows.
    """

    cmc: np.ndarray
    queries: int
    skipped: int
    repeats: int | None = None
    ranks: tuple[int, ...] = RANKS

    def rank(self, k: int) -> float:
        """Returns the CMC at rank k, counted from 1."""
        if not 1 <= k <= self.cmc.shape[0]:
            raise ValueError(
                f'rank {k} is asked for and the curve holds ranks 1 to {self.cmc.shape[0]}; ask for'
                f' it with ranks=(..., {k})'
            )
        return float(self.cmc[k - 1])

    def __str__(self) -> str:
        shown = '  '.join(f'rank-{k} {self.rank(k):.2%}' for k in self.ranks)
        how = 'exact expectation' if self.repeats is None else f'{self.repeats} random galleries'
        return (
            f'{shown}  ({self.queries:,} queries, {self.skipped:,} without a match skipped; single'
            f' gallery shot: {how})'
        )


def single_shot_cmc(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    distance: Distance = 'euclidean',
    ranks: Sequence[int] = RANKS,
    repeats: int | None = None,
    seed: int = 0,
    block_size: int = BLOCK,
    progress: bool = False,
    normalise: bool = False,
) -> SingleShot:
    """Computes the CMC of galleries that show one random image per identity.

    Every query has its own draws. Images that `evaluate` leaves out for a query are left out before
    the draw. Distractors that share an identity count as one identity. Ties are ordered by gallery
    row. Arguments are those of `evaluate`, with two more.

    Args:
      repeats: number of draws per query; None computes the exact expectation over all draws.
      seed: of the draws, which depend on (seed, query) alone.

    Raises:
      ValueError: NaN or infinite features, sizes that do not fit, or no query with a match.
    """
    check_switch(normalise=normalise)
    x, y = check_pair(query, gallery)
    if normalise:
        x, y = unit(x), unit(y)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    parts = blocks(x, y, distance=distance, block_size=block_size, progress=progress)
    return _single_shot(parts, related, ranks=ranks, repeats=repeats, seed=seed)


def single_shot_cmc_distances(
    distances: Float[Array, 'q g'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    ranks: Sequence[int] = RANKS,
    repeats: int | None = None,
    seed: int = 0,
    block_size: int = BLOCK,
    progress: bool = False,
) -> SingleShot:
    """Computes `single_shot_cmc` of a distance matrix (smaller is nearer).

    Raises:
      ValueError: NaN distances, sizes that do not fit, or no query with a match.
    """
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    distances = check_distances(distances)
    check_sizes(distances.shape, related)
    parts = row_blocks(distances, block_size=block_size, progress=progress)
    return _single_shot(parts, related, ranks=ranks, repeats=repeats, seed=seed)


def _single_shot(
    parts: Iterable[tuple[int, np.ndarray]],
    related: Relevance,
    *,
    ranks: Sequence[int],
    repeats: int | None,
    seed: int,
) -> SingleShot:
    """Averages the CMC over the queries, block by block."""
    shown = check_ranks(ranks)
    if repeats is not None:
        check_positive(repeats=repeats)
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f'seed is {seed!r}; expected a whole number from 0 on')
    valid = check_valid(related.matches)
    identities = Identities(related.gallery_ids)
    weight = 1 / related.matches.clip(1)
    curve = max(shown)
    distribution = RankDistribution(identities.size, curve)
    total = np.zeros(curve)
    for start, block in parts:
        matches = block_ranks(start, block, related)
        if repeats is None:
            total += _expected(
                matches, weight[start : start + block.shape[0]], identities, distribution
            )
        else:
            total += _drawn(matches, start, identities, repeats, seed, curve)
    return SingleShot(total / valid.sum(), int(valid.sum()), int((~valid).sum()), repeats, shown)


class Identities:
    """The gallery by identity, without junk.

    Attributes:
      rows: `[G]` gallery rows, those of an identity together.
      start, size: `[J]` place of the first image of an identity in `rows`, and number of images.
      number: `[g]` the place of a gallery row's identity in `start`; meaningless for junk.
      share: `[g]` 1 / size, 0 for junk.
    """

    def __init__(self, gallery_ids: np.ndarray) -> None:
        """Sorts the gallery by identity."""
        kept = np.flatnonzero(gallery_ids >= 0)
        self.rows = kept[np.argsort(gallery_ids[kept], kind='stable')]
        known, self.start, self.size = np.unique(
            gallery_ids[self.rows], return_index=True, return_counts=True
        )
        self.number = np.searchsorted(known, gallery_ids)
        self.share = np.zeros(gallery_ids.shape[0], np.float32)
        self.share[kept] = 1 / self.size[self.number[kept]]


def _expected(
    matches: BlockRanks, weight: np.ndarray, identities: Identities, distribution: RankDistribution
) -> np.ndarray:
    """Sums the expected CMC over the queries, each the mean over its equally likely matches."""
    hidden, row, column = matches.hidden, matches.row, matches.column
    value = hidden[row, column]
    if np.isinf(value).any():
        raise ValueError(
            'a match has infinite distance; expected finite distances of matches for the'
            ' single-gallery-shot protocol'
        )
    # No image of the query's own identity stands before the match, which is the one drawn.
    hidden[row, column] = np.inf
    nearer = matches.rank - 1 - (np.arange(row.shape[0]) - np.searchsorted(row, row))
    counted = _within_reach(matches, value, nearer, identities, distribution)
    if not counted.any():
        return np.zeros(distribution.back.shape[1])
    row, value, nearer = row[counted], value[counted], nearer[counted]
    last = np.flatnonzero(np.append(row[1:] != row[:-1], True))
    images = _nearest_images(hidden[row[last]], value[last], nearer[last])
    # The number of images between two matches is the difference of their numbers of nearer images.
    start = np.append(0, last[:-1] + 1)
    between = np.diff(nearer, prepend=0)
    between[start] = nearer[start]
    logs = distribution.log_products(identities.number[images], between, start)
    return weight[row] @ distribution.cdf(logs)


def _nearest_images(hidden: np.ndarray, furthest: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns the columns of the first `count` entries of every row by (distance, column).

    The rows follow each other. None of these entries is further than `furthest`.
    """
    row, column = np.divmod(np.flatnonzero(hidden <= furthest[:, None]), hidden.shape[1])
    distance = hidden[row, column]
    if distance.dtype == np.float32 and hidden.shape[0] <= 1 << 8 and hidden.shape[1] <= 1 << 24:
        # Row, distance and column in one integer: plain numbers sort several times as fast as three
        # keys. The bits of floats sort like the floats once those of negative floats are inverted.
        # Adding 0 turns -0 into 0.
        bits = (distance + np.float32(0)).view(np.int32).astype(np.int64)
        bits = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + (1 << 31)
        key = np.sort(
            (row.astype(np.uint64) << 56)
            | (bits.astype(np.uint64) << 24)
            | column.astype(np.uint64)
        )
        row, column = (key >> 56).astype(np.int64), (key & 0xFFFFFF).astype(np.int64)
    else:
        order = np.lexsort((column, distance, row))
        row, column = row[order], column[order]
    position = np.arange(row.shape[0]) - np.searchsorted(row, row)
    return column[position < count[row]]


def _within_reach(
    matches: BlockRanks,
    value: np.ndarray,
    nearer: np.ndarray,
    identities: Identities,
    distribution: RankDistribution,
) -> np.ndarray:
    """Returns the mask of the matches that may have a rank within the curve.

    For the other matches this has a probability below 1e-10, by Chernoff's bound on the expected
    number of drawn images that are nearer. That expectation is least if the `nearer` images of
    other identities all belong to the identities with the most images. If matches of a query remain
    in doubt, a sum over the images up to a fixed rank decides about all matches behind that rank.
    """
    possible = nearer < distribution.surely
    usual = int(1.1 * distribution.reach * identities.rows.shape[0] / identities.size.shape[0])
    if usual >= matches.ordered.shape[1]:
        return possible
    limit = matches.ordered[:, usual]
    behind = possible & (value > limit[matches.row])
    doubtful = np.unique(matches.row[behind])
    expected = np.zeros(matches.ordered.shape[0])
    expected[doubtful] = (matches.hidden[doubtful] <= limit[doubtful, None]).astype(
        np.float32
    ) @ identities.share
    return possible & ~(behind & (expected > distribution.reach)[matches.row])


def _drawn(
    matches: BlockRanks, start: int, identities: Identities, repeats: int, seed: int, curve: int
) -> np.ndarray:
    """Sums the mean CMC over `repeats` random galleries over the queries."""
    total = np.zeros(curve + 1)
    for i in np.unique(matches.row):
        own, distances = matches.column[matches.row == i], matches.hidden[i]
        rng = np.random.default_rng([seed, start + i])
        match = rng.choice(own, repeats)[:, None]
        shown = identities.rows[
            identities.start + rng.integers(0, identities.size, (repeats, identities.size.shape[0]))
        ]
        value = distances[match]
        nearer = (distances[shown] < value) | ((distances[shown] == value) & (shown < match))
        nearer[:, identities.number[own[0]]] = False
        total += np.bincount(np.minimum(nearer.sum(axis=1), curve), minlength=curve + 1) / repeats
    return np.cumsum(total[:curve])
