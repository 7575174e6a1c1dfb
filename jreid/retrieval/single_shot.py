"""Single-gallery-shot CMC: every identity shows one random gallery image (CUHK03's classic
protocol, VIPeR, i-LIDS).
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Integer

from jreid.retrieval.checks import Array, check_pair, check_positive
from jreid.retrieval.distances import BLOCK, Distance, blocks, row_blocks, unit
from jreid.retrieval.match_ranks import BlockRanks, block_ranks
from jreid.retrieval.metrics import RANKS, check_ranks, check_valid
from jreid.retrieval.rank_distribution import RankDistribution
from jreid.retrieval.relevance import Relevance, check_sizes, relevance


@dataclasses.dataclass(frozen=True)
class SingleShot:
    """Single-gallery-shot CMC.

    cmc: `[R]` float64, `rank(k)` reads it; queries: number in the mean, skipped: those without a
    match; repeats: number of random galleries a query, None where it is the exact expectation over
    all of them.
    """

    cmc: np.ndarray
    queries: int
    skipped: int
    repeats: int | None = None
    ranks: tuple[int, ...] = RANKS

    def rank(self, k: int) -> float:
        """CMC at rank k, counted from 1."""
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
    query_ids: Integer[Array, ' q'],
    gallery_ids: Integer[Array, ' g'],
    query_cameras: Integer[Array, ' q'] | None = None,
    gallery_cameras: Integer[Array, ' g'] | None = None,
    *,
    distance: Distance = 'euclidean',
    ranks: Sequence[int] = RANKS,
    repeats: int | None = None,
    seed: int = 0,
    block_size: int = BLOCK,
    progress: bool = False,
    normalise: bool = False,
) -> SingleShot:
    """CMC when each identity of the gallery shows one image at random, drawn anew for every query.

    What `evaluate` leaves out for a query is left out before the draw. repeats None: the exact
    expectation over all draws; else the mean over that many draws a query, from (seed, query)
    alone. Every identity counts as one, distractors of one common identity too. Ties go by gallery
    row.

    Raises:
      ValueError: for NaN or infinite features, sizes that do not fit, or when no query has a match.
    """
    x, y = check_pair(query, gallery)
    if normalise:
        x, y = unit(x), unit(y)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    parts = blocks(x, y, distance=distance, block_size=block_size, progress=progress)
    return _single_shot(
        parts, related, np.asarray(gallery_ids), ranks=ranks, repeats=repeats, seed=seed
    )


def single_shot_cmc_distances(
    distances: Float[Array, 'q g'],
    query_ids: Integer[Array, ' q'],
    gallery_ids: Integer[Array, ' g'],
    query_cameras: Integer[Array, ' q'] | None = None,
    gallery_cameras: Integer[Array, ' g'] | None = None,
    *,
    ranks: Sequence[int] = RANKS,
    repeats: int | None = None,
    seed: int = 0,
    block_size: int = BLOCK,
    progress: bool = False,
) -> SingleShot:
    """`single_shot_cmc` of a distance matrix (smaller is nearer).

    Raises:
      ValueError: for NaN distances, sizes that do not fit, or when no query has a match.
    """
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes(distances.shape, related)
    parts = row_blocks(distances, block_size=block_size, progress=progress)
    return _single_shot(
        parts, related, np.asarray(gallery_ids), ranks=ranks, repeats=repeats, seed=seed
    )


def _single_shot(
    parts: Iterable[tuple[int, np.ndarray]],
    related: Relevance,
    gallery_ids: np.ndarray,
    *,
    ranks: Sequence[int],
    repeats: int | None,
    seed: int,
) -> SingleShot:
    shown = check_ranks(ranks)
    if repeats is not None:
        check_positive(repeats=repeats)
    valid = check_valid(related.matches)
    identities = Identities(gallery_ids)
    weight = 1 / related.matches.clip(1)
    curve = max(shown)
    distribution = RankDistribution(identities.size, curve)
    total = np.zeros(curve)
    for start, block in parts:
        ranks_of_matches = block_ranks(start, block, related)
        if repeats is None:
            total += _expected(
                ranks_of_matches, weight[start : start + block.shape[0]], identities, distribution
            )
        else:
            total += _drawn(ranks_of_matches, start, identities, repeats, seed, curve)
    return SingleShot(total / valid.sum(), int(valid.sum()), int((~valid).sum()), repeats, shown)


class Identities:
    """The gallery by identity, junk aside.

    rows `[G]`: gallery rows, those of an identity together; start, size `[J]`: place of an
    identity's first image in `rows` and number of its images; number `[g]`: the identity's place in
    these for every gallery row (without meaning for junk); share `[g]`: 1 / size, 0 for junk.
    """

    def __init__(self, gallery_ids: np.ndarray) -> None:
        kept = np.flatnonzero(gallery_ids >= 0)
        self.rows = kept[np.argsort(gallery_ids[kept], kind='stable')]
        known, self.start, self.size = np.unique(
            gallery_ids[self.rows], return_index=True, return_counts=True
        )
        self.number = np.searchsorted(known, gallery_ids)
        self.share = np.zeros(gallery_ids.shape[0], np.float32)
        self.share[kept] = 1 / self.size[self.number[kept]]


def _expected(
    found: BlockRanks, weight: np.ndarray, identities: Identities, distribution: RankDistribution
) -> np.ndarray:
    """Sum over the queries of their expected CMC: the mean over a query's matches, any of which
    may be drawn.
    """
    hidden, row, column = found.hidden, found.row, found.column
    value = hidden[row, column]
    if np.isinf(value).any():
        raise ValueError(
            'a match has infinite distance; expected finite distances of matches for the'
            ' single-gallery-shot protocol'
        )
    # Images of the query's own identity never stand before the match: the one drawn is the match
    # itself.
    hidden[row, column] = np.inf
    nearer = found.rank - 1 - (np.arange(row.shape[0]) - np.searchsorted(row, row))
    counted = _within_reach(found, value, nearer, identities, distribution)
    if not counted.any():
        return np.zeros(distribution.back.shape[1])
    row, value, nearer = row[counted], value[counted], nearer[counted]
    last = np.flatnonzero(np.append(row[1:] != row[:-1], True))
    images = _nearest_images(hidden[row[last]], value[last], nearer[last])
    # Between two matches of a query stand as many images as their numbers of nearer images differ.
    start = np.append(0, last[:-1] + 1)
    between = np.diff(nearer, prepend=0)
    between[start] = nearer[start]
    logs = distribution.log_products(identities.number[images], between, start)
    return weight[row] @ distribution.cdf(logs)


def _nearest_images(hidden: np.ndarray, furthest: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Columns of the first `count` entries of every row by (distance, column), one row after the
    other; none of them is further than `furthest`.
    """
    row, column = np.divmod(np.flatnonzero(hidden <= furthest[:, None]), hidden.shape[1])
    distance = hidden[row, column]
    if distance.dtype == np.float32 and hidden.shape[0] <= 1 << 8 and hidden.shape[1] <= 1 << 24:
        # Row, distance and column in one integer: plain numbers sort several times as fast as a
        # permutation of three keys. The bits of a float are ordered like the floats once those of
        # negative ones are turned round; adding 0 makes -0 a 0.
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
    found: BlockRanks,
    value: np.ndarray,
    nearer: np.ndarray,
    identities: Identities,
    distribution: RankDistribution,
) -> np.ndarray:
    """Mask of the matches that may stand within the curve, among `nearer` images of other
    identities; of the rest that is less likely than 1e-10.

    Expected rank decides (Chernoff's bound). It is not below what the number of nearer images
    allows, were they all of the identities with the most images. For a query whose doubtful matches
    all lie behind its first so many images, one sum over those images settles them all.
    """
    possible = nearer < distribution.surely
    usual = int(1.1 * distribution.reach * identities.rows.shape[0] / identities.size.shape[0])
    if usual >= found.ordered.shape[1]:
        return possible
    limit = found.ordered[:, usual]
    behind = possible & (value > limit[found.row])
    doubtful = np.unique(found.row[behind])
    expected = np.zeros(found.ordered.shape[0])
    expected[doubtful] = (found.hidden[doubtful] <= limit[doubtful, None]).astype(
        np.float32
    ) @ identities.share
    return possible & ~(behind & (expected > distribution.reach)[found.row])


def _drawn(
    found: BlockRanks, start: int, identities: Identities, repeats: int, seed: int, curve: int
) -> np.ndarray:
    """Sum over the queries of their mean CMC over `repeats` random galleries."""
    total = np.zeros(curve + 1)
    for i in np.unique(found.row):
        own, distances = found.column[found.row == i], found.hidden[i]
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
