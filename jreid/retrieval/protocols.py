"""Single-gallery-shot CMC: every identity shows one random gallery image (CUHK03's classic protocol, VIPeR, i-LIDS)."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Integer

from jreid.retrieval.checks import Array, check_pair, check_positive
from jreid.retrieval.distances import BLOCK, Distance, blocks, unit
from jreid.retrieval.evaluation import RANKS, row_blocks
from jreid.retrieval.metrics import CURVE, check_ranks, check_valid
from jreid.retrieval.rank_distribution import RankDistribution
from jreid.retrieval.relevance import Relevance, check_sizes, relevance

_ROWS = 64  # queries at a time: their masks over the gallery stay in the cache


@dataclasses.dataclass(frozen=True)
class SingleShot:
    """Single-gallery-shot CMC.

    cmc: `[R]` float64, `rank(k)` reads it; queries: number in the mean, skipped: those without a match;
    repeats: number of random galleries a query, None where it is the exact expectation over all of them.
    """

    cmc: np.ndarray
    queries: int
    skipped: int
    repeats: int | None = None
    ranks: tuple[int, ...] = RANKS

    def rank(self, k: int) -> float:
        """CMC at rank k, counted from 1."""
        if not 1 <= k <= self.cmc.shape[0]:
            raise ValueError(f'rank {k} is asked for and the curve holds ranks 1 to {self.cmc.shape[0]}; ask for it with ranks=(..., {k})')
        return float(self.cmc[k - 1])

    def __str__(self) -> str:
        shown = '  '.join(f'rank-{k} {self.rank(k):.2%}' for k in self.ranks)
        how = 'exact expectation' if self.repeats is None else f'{self.repeats} random galleries'
        return f'{shown}  ({self.queries:,} queries, {self.skipped:,} without a match skipped; single gallery shot: {how})'


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

    What `evaluate` leaves out for a query is left out before the draw. repeats None: the exact expectation over all draws; else the mean over that many
    draws a query, from (seed, query) alone. Every identity counts as one, distractors of one common identity too. Ties go by gallery row.

    Raises:
      ValueError: for NaN or infinite features, sizes that do not fit, or when no query has a match.
    """
    x, y = check_pair(query, gallery)
    if normalise:
        x, y = unit(x), unit(y)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    parts = blocks(x, y, distance=distance, block_size=block_size, progress=progress)
    return _single_shot(parts, related, np.asarray(gallery_ids), ranks=ranks, repeats=repeats, seed=seed)


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
    return _single_shot(parts, related, np.asarray(gallery_ids), ranks=ranks, repeats=repeats, seed=seed)


def _single_shot(
    parts: Iterable[tuple[int, np.ndarray]], related: Relevance, gallery_ids: np.ndarray, *, ranks: Sequence[int], repeats: int | None, seed: int
) -> SingleShot:
    shown = check_ranks(ranks)
    valid = check_valid(related.matches)
    curve = max(CURVE, *shown)
    identities = _Identities(gallery_ids)
    if repeats is not None:
        check_positive(repeats=repeats)
    else:
        distribution = RankDistribution(np.array([size for size, _, _ in identities.groups]), curve)
    total = np.zeros(curve)
    for start, block in parts:
        for first in range(start, start + block.shape[0], _ROWS):
            rows = block[first - start : first - start + _ROWS]
            if np.isnan(rows).any():
                raise ValueError(f'distances of queries {first} to {first + rows.shape[0] - 1} hold NaN; expected numbers (infinity is allowed)')
            if repeats is None:
                total += _expected(rows, first, related, identities, distribution)
            else:
                total += _drawn(rows, first, related, identities, repeats, seed, curve)
    return SingleShot(total / valid.sum(), int(valid.sum()), int((~valid).sum()), repeats, shown)


class _Identities:
    """The gallery by identity, junk aside, those with equally many images together.

    order `[G']`: gallery rows; groups: (images an identity, first, last place in `order`) where `order[first:last]` is `[images, identities]` by rows;
    start, size: place of the first image and number of images of each identity in `by_identity`, another order of the same rows;
    number `[g]`: the place of a gallery image's identity in `start` and `size`.
    """

    def __init__(self, gallery_ids: np.ndarray) -> None:
        kept = np.flatnonzero(gallery_ids >= 0)
        self.by_identity = kept[np.argsort(gallery_ids[kept], kind='stable')]
        known, self.start, self.size = np.unique(gallery_ids[self.by_identity], return_index=True, return_counts=True)
        self.number = np.searchsorted(known, gallery_ids)
        order, self.groups = [], []
        place = 0
        for size in np.unique(self.size):
            first = self.start[self.size == size]
            order.append(self.by_identity[(np.arange(size)[:, None] + first).ravel()])
            self.groups.append((int(size), place, place + order[-1].shape[0]))
            place += order[-1].shape[0]
        self.order = np.concatenate(order)


def _expected(rows: np.ndarray, start: int, related: Relevance, identities: _Identities, distribution: RankDistribution) -> np.ndarray:
    """Sum over the queries of their expected CMC: the mean over a query's matches, any of which may be drawn."""
    stop = start + rows.shape[0]
    matches = related.matches[start:stop]
    # Queries with many matches first, so that those with an s-th match are the first few rows.
    busy = np.argsort(-matches, kind='stable')
    others = rows.copy()
    for where, what in ((related.match_start, related.match), (related.left_out_start, related.left_out)):
        others[np.repeat(np.arange(len(matches)), np.diff(where[start : stop + 1])), what[where[start] : where[stop]]] = np.inf
    others = others[busy][:, identities.order]
    total = np.zeros(distribution.real.shape[1])
    for s in range(int(matches.max(initial=0))):
        some = int((matches > s).sum())
        query = busy[:some]
        column = related.match[related.match_start[start + query] + s]
        value = rows[query, column][:, None]
        nearer = others[:some] < value
        equal = others[:some] == value
        if equal.any():
            nearer |= equal & (identities.order < column[:, None])
        cdf = distribution.cdf(_count(nearer, identities, distribution))
        total += (cdf / matches[query][:, None]).sum(axis=0)
    return total


def _count(nearer: np.ndarray, identities: _Identities, distribution: RankDistribution) -> np.ndarray:
    """`[m, width]`: how many identities have n images of which c are nearer, from the mask `[m, G']`; images of the query's identity are never nearer."""
    m = nearer.shape[0]
    base = np.arange(m)[:, None] * distribution.width
    keys = []
    for size, first, last in identities.groups:
        images = nearer[:, first:last].reshape(m, size, -1)
        count = images.view(np.uint8).sum(axis=1, dtype=np.uint8) if size < 256 else images.sum(axis=1)
        keys.append(base + distribution.offset[size] + count)
    return np.bincount(np.concatenate(keys, axis=1).ravel(), minlength=m * distribution.width).reshape(m, -1)


def _drawn(rows: np.ndarray, start: int, related: Relevance, identities: _Identities, repeats: int, seed: int, curve: int) -> np.ndarray:
    """Sum over the queries of their mean CMC over `repeats` random galleries."""
    total = np.zeros(curve + 1)
    for i, distances in enumerate(rows):
        own = related.match[related.match_start[start + i] : related.match_start[start + i + 1]]
        if own.size == 0:
            continue
        rng = np.random.default_rng([seed, start + i])
        match = rng.choice(own, repeats)[:, None]
        shown = identities.by_identity[identities.start + rng.integers(0, identities.size, (repeats, identities.size.shape[0]))]
        value = distances[match]
        nearer = (distances[shown] < value) | ((distances[shown] == value) & (shown < match))
        nearer[:, identities.number[own[0]]] = False
        total += np.bincount(np.minimum(nearer.sum(axis=1), curve), minlength=curve + 1) / repeats
    return np.cumsum(total[:curve])
