"""CMC, mAP and mINP of a query set against a gallery, from features or from distances."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer

from jreid.retrieval.checks import Array, check_pair
from jreid.retrieval.distances import BLOCK, Distance, blocks, row_blocks, unit
from jreid.retrieval.match_ranks import match_ranks
from jreid.retrieval.relevance import check_sizes, relevance

AveragePrecision = Literal['rank', 'trapezoid']
RANKS = (1, 5, 10, 20)
CURVE = 50  # ranks of the curve where no higher one is asked for
DEFINITIONS = {
    'rank': 'AP: mean of k / rank of the k-th match',
    'trapezoid': (
        'AP: trapezoids under the precision-recall curve, as in the original Market-1501 code'
    ),
}


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Retrieval quality, means over the queries that have a match.

    cmc: `[R]` float64, share of queries with a match among the first 1, 2, ..., R; `rank(k)` reads
    it. mAP, mINP: mean average precision (by `average_precision`) and mean inverse negative
    penalty, 0 to 1. queries: number of queries in the means; skipped: those without a match, which
    are in none.
    """

    cmc: np.ndarray
    mAP: float  # noqa: N815
    mINP: float  # noqa: N815
    queries: int
    skipped: int
    average_precision: str = 'rank'
    ranks: tuple[int, ...] = RANKS

    def rank(self, k: int) -> float:
        """CMC at rank k, counted from 1."""
        if not 1 <= k <= self.cmc.shape[0]:
            raise ValueError(
                f'rank {k} is asked for and the curve holds ranks 1 to {self.cmc.shape[0]};'
                f' evaluate with ranks=(..., {k})'
            )
        return float(self.cmc[k - 1])

    def __str__(self) -> str:
        shown = '  '.join(f'rank-{k} {self.rank(k):.2%}' for k in self.ranks)
        counted = f'{self.queries:,} queries, {self.skipped:,} without a match skipped'
        return (
            f'mAP {self.mAP:.2%}  {shown}  mINP {self.mINP:.2%}  ({counted};'
            f' {DEFINITIONS[self.average_precision]})'
        )


def evaluate(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    query_ids: Integer[Array, ' q'],
    gallery_ids: Integer[Array, ' g'],
    query_cameras: Integer[Array, ' q'] | None = None,
    gallery_cameras: Integer[Array, ' g'] | None = None,
    *,
    distance: Distance = 'euclidean',
    ranks: Sequence[int] = RANKS,
    average_precision: AveragePrecision = 'rank',
    block_size: int = BLOCK,
    progress: bool = False,
    normalise: bool = False,
) -> Metrics:
    """CMC, mAP and mINP of features; only `block_size` rows of the distance matrix are ever held.

    Gallery images of the query's identity and camera are left out, as is junk (identity -1);
    distractors (0 in Market-1501) are negatives. Cameras None: the camera rule is off. `normalise`
    divides every feature by its length first. Ties are ordered by (distance, gallery row). The
    result is the same for every block size. Definitions: `metrics_from_ranks`.

    Raises:
      ValueError: for NaN or infinite features, sizes that do not fit, or when no query has a match.
    """
    check_ranks(ranks)
    check_definition(average_precision)
    x, y = check_pair(query, gallery)
    if normalise:
        x, y = unit(x), unit(y)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    check_valid(related.matches)
    found = match_ranks(
        blocks(x, y, distance=distance, block_size=block_size, progress=progress), related
    )
    return metrics_from_ranks(
        found, related.matches, ranks=ranks, average_precision=average_precision
    )


def evaluate_distances(
    distances: Float[Array, 'q g'],
    query_ids: Integer[Array, ' q'],
    gallery_ids: Integer[Array, ' g'],
    query_cameras: Integer[Array, ' q'] | None = None,
    gallery_cameras: Integer[Array, ' g'] | None = None,
    *,
    ranks: Sequence[int] = RANKS,
    average_precision: AveragePrecision = 'rank',
    block_size: int = BLOCK,
    progress: bool = False,
) -> Metrics:
    """CMC, mAP and mINP of a distance matrix (smaller is nearer); otherwise as `evaluate`.

    Raises:
      ValueError: for NaN distances of images that are ranked, sizes that do not fit, or when no
        query has a match.
    """
    check_ranks(ranks)
    check_definition(average_precision)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes(distances.shape, related)
    check_valid(related.matches)
    found = match_ranks(row_blocks(distances, block_size=block_size, progress=progress), related)
    return metrics_from_ranks(
        found, related.matches, ranks=ranks, average_precision=average_precision
    )


def check_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """The ranks as a tuple; an error for none and for ranks below 1."""
    if len(ranks) == 0 or min(ranks) < 1:
        raise ValueError(f'ranks are {tuple(ranks)}; expected one or more whole numbers from 1')
    return tuple(int(k) for k in ranks)


def check_definition(average_precision: str) -> None:
    """An error for an unknown definition."""
    if average_precision not in DEFINITIONS:
        raise ValueError(
            f"average_precision is {average_precision!r}; expected 'rank' or 'trapezoid'"
        )


def check_valid(matches: np.ndarray) -> np.ndarray:
    """Mask of the queries that have a match; none at all is an error, since every mean would be
    over nothing.
    """
    valid = matches > 0
    if not valid.any():
        raise ValueError(
            f'none of the {valid.shape[0]} queries has a match in the gallery after images of its'
            ' own identity and camera are left out; check that identities of both sides are'
            ' numbered alike, or pass no cameras to switch the camera rule off'
        )
    return valid


def metrics_from_ranks(
    ranks_of_matches: np.ndarray,
    matches: np.ndarray,
    *,
    ranks: Sequence[int],
    average_precision: AveragePrecision,
) -> Metrics:
    """Metrics from the ranks (from 1) of all matches, ascending within a query, and the number of
    matches of each query.

    With r_k the rank of the k-th of n matches:
    'rank': AP = 1/n sum_k k / r_k; 'trapezoid': AP = 1/n sum_k (k / r_k + (k - 1) / (r_k - 1)) / 2,
    where the second term is 1 for r_k = 1; INP = n / r_n. Source: Zheng et al. 2015 (Market-1501),
    Ye et al. 2021 (mINP).
    """
    shown = check_ranks(ranks)
    check_definition(average_precision)
    valid = check_valid(matches)
    count = matches[valid]
    last = np.cumsum(count) - 1
    first = last - count + 1
    r = ranks_of_matches.astype(np.float64)
    ap = average_precisions(ranks_of_matches, count, average_precision=average_precision)
    length = max(CURVE, *shown)
    hits = np.bincount(np.minimum(ranks_of_matches[first], length + 1), minlength=length + 2)[
        1 : length + 1
    ]
    return Metrics(
        cmc=np.cumsum(hits) / count.shape[0],
        mAP=float(ap.mean()),
        mINP=float((count / r[last]).mean()),
        queries=int(count.shape[0]),
        skipped=int((~valid).sum()),
        average_precision=average_precision,
        ranks=shown,
    )


def average_precisions(
    ranks_of_matches: np.ndarray, count: np.ndarray, *, average_precision: AveragePrecision
) -> np.ndarray:
    """The AP of every query that has a match, float64; `count` are their numbers of matches, all
    above 0. Definitions: `metrics_from_ranks`.
    """
    check_definition(average_precision)
    first = np.cumsum(count) - count
    r = ranks_of_matches.astype(np.float64)
    k = np.arange(1, r.shape[0] + 1) - np.repeat(first, count)
    precision = k / r
    if average_precision == 'trapezoid':
        before = np.where(r > 1, (k - 1) / np.where(r > 1, r - 1, 1), 1.0)
        precision = (precision + before) / 2
    return np.add.reduceat(precision, first) / count
