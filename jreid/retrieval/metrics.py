"""CMC, mAP and mINP of a query set against a gallery, from features or from distances."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

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
from jreid.retrieval.distances import BLOCK, Distance, block_parts, check_distance, row_blocks, unit
from jreid.retrieval.match_ranks import match_ranks
from jreid.retrieval.relevance import check_sizes, relevance
from jreid.retrieval.reranking import reranked_parts
from jreid.retrieval.streaming import streamed_ranks

AveragePrecision = Literal['rank', 'trapezoid']
# A gallery of more images is evaluated in tiles. Up to here, whole rows are as fast.
WIDE = 1 << 16
RANKS = (1, 5, 10, 20)
# Ranks of the CMC curve, unless a higher one is asked for.
CURVE = 50
DEFINITIONS = {
    'rank': 'AP: mean of k / rank of the k-th match',
    'trapezoid': (
        'AP: trapezoids under the precision-recall curve, as in the original Market-1501 code'
    ),
}


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Retrieval metrics, means over the queries that have a match.

    Attributes:
      cmc: `[R]` float64, the share of queries with a match among the first 1, 2, ..., R images.
      mAP: mean average precision, 0 to 1.
      mINP: mean inverse negative penalty, 0 to 1.
      queries: number of queries in the means.
      skipped: number of queries without a match, which no mean counts.
      average_precision: the definition of average precision, 'rank' or 'trapezoid'.
      ranks: the ranks that `str` shows.
    """

    cmc: np.ndarray
    mAP: float  # noqa: N815
    mINP: float  # noqa: N815
    queries: int
    skipped: int
    average_precision: str = 'rank'
    ranks: tuple[int, ...] = RANKS

    def rank(self, k: int) -> float:
        """Returns the CMC at rank k, counted from 1."""
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
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    distance: Distance = 'euclidean',
    ranks: Sequence[int] = RANKS,
    average_precision: AveragePrecision = 'rank',
    block_size: int = BLOCK,
    progress: bool = False,
    normalise: bool = False,
) -> Metrics:
    """Computes CMC, mAP and mINP of query features against gallery features.

    For each query, gallery images of its own identity and camera are left out, as is junk
    (identity -1). Distractors (identity 0 in Market-1501) are negatives. Ties are ordered by
    (distance, gallery row). `metrics_from_ranks` has the definitions.

    Args:
      query_cameras, gallery_cameras: None for both switches the camera rule off.
      ranks: the ranks that the result shows; the curve reaches the highest of them.
      average_precision: 'rank' or 'trapezoid', see `metrics_from_ranks`.
      block_size: queries per block. Memory holds this many rows of the distance matrix per thread,
        of which there are up to eight. Of a gallery of more than 65,536 images it holds a tile of
        4 `block_size` x 4,096 only, so that the gallery may lie in a memory-mapped file. The result
        does not depend on it, but for near-duplicates that differ in the last digits of their
        distances.
      normalise: divide every feature by its length first, see `unit`.

    Raises:
      ValueError: NaN or infinite features, sizes that do not fit, or no query with a match.
    """
    ranks = check_ranks(ranks)
    check_definition(average_precision)
    check_switch(normalise=normalise)
    check_distance(distance)
    check_positive(block_size=block_size)
    x, y = check_pair(query, gallery)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    check_valid(related.matches)
    keywords: dict[str, Any] = {
        'distance': distance,
        'block_size': block_size,
        'progress': progress,
    }
    if y.shape[0] > WIDE:
        ranked = streamed_ranks(x, y, related, normalise=normalise, **keywords)
    else:
        if normalise:
            x, y = unit(x), unit(y)
        ranked = match_ranks(*block_parts(x, y, **keywords), related)
    return metrics_from_ranks(
        ranked, related.matches, ranks=ranks, average_precision=average_precision
    )


def evaluate_distances(
    distances: Float[Array, 'q g'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    ranks: Sequence[int] = RANKS,
    average_precision: AveragePrecision = 'rank',
    block_size: int = BLOCK,
    progress: bool = False,
) -> Metrics:
    """Computes CMC, mAP and mINP of a distance matrix (smaller is nearer), as `evaluate` does.

    Raises:
      ValueError: NaN distances of ranked images, sizes that do not fit, or no query with a match.
    """
    ranks = check_ranks(ranks)
    check_definition(average_precision)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    distances = check_distances(distances)
    check_sizes(distances.shape, related)
    check_valid(related.matches)
    parts = row_blocks(distances, block_size=block_size, progress=progress)
    return metrics_from_ranks(
        match_ranks(parts, lambda part: part, related),
        related.matches,
        ranks=ranks,
        average_precision=average_precision,
    )


def evaluate_reranked(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    ranks: Sequence[int] = RANKS,
    average_precision: AveragePrecision = 'rank',
    block_size: int = BLOCK,
    progress: bool = False,
    on_device: bool | None = None,
) -> Metrics:
    """Computes CMC, mAP and mINP of the distances of `rerank`, without holding them.

    The result is that of `evaluate_distances(rerank(...))`. Memory holds the neighbourhoods and
    `block_size` rows of distances per thread. Arguments and errors are those of the two functions.
    """
    ranks = check_ranks(ranks)
    check_definition(average_precision)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    x, y = check_pair(query, gallery)
    check_sizes((x.shape[0], y.shape[0]), related)
    check_valid(related.matches)
    parts, rows = reranked_parts(
        x,
        y,
        k1=k1,
        k2=k2,
        lambda_value=lambda_value,
        block_size=block_size,
        progress=progress,
        on_device=on_device,
    )
    return metrics_from_ranks(
        match_ranks(parts, rows, related),
        related.matches,
        ranks=ranks,
        average_precision=average_precision,
    )


_HIGHEST = 1 << 24
"""The curve has one number per rank up to the highest."""


def _is_rank(k: object) -> bool:
    return isinstance(k, int | np.integer) and k is not True and 1 <= int(k) <= _HIGHEST


def check_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """Returns the ranks as a tuple after checking that there are some, all of at least 1."""
    several = tuple(ranks) if isinstance(ranks, Iterable) and not isinstance(ranks, str) else ()
    if not several or not all(_is_rank(k) for k in several):
        raise ValueError(
            f'ranks are {ranks!r}; expected one or more whole numbers from 1 to {_HIGHEST:,}'
        )
    return tuple(int(k) for k in several)


def check_definition(average_precision: str) -> None:
    """Checks that the definition of average precision is known."""
    if not isinstance(average_precision, str) or average_precision not in DEFINITIONS:
        raise ValueError(
            f"average_precision is {average_precision!r}; expected 'rank' or 'trapezoid'"
        )


def check_valid(matches: np.ndarray) -> np.ndarray:
    """Returns the mask of the queries that have a match.

    Raises:
      ValueError: no query has one, so that every mean would be over nothing.
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
    """Computes the metrics from the ranks of all matches.

    With r_k the rank of the k-th of a query's n matches:

    - 'rank': AP = 1/n sum_k k / r_k;
    - 'trapezoid': AP = 1/n sum_k (k / r_k + (k - 1) / (r_k - 1)) / 2, where the second term is 1
      for r_k = 1;
    - INP = n / r_n.

    Args:
      ranks_of_matches: ranks from 1, by query and ascending within a query.
      matches: `[q]` number of matches of each query.

    Source: Zheng et al. 2015 (Market-1501), Ye et al. 2021 (mINP).
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
    """Computes the average precision of every query that has a match, float64.

    `count` has their numbers of matches, all above 0; `metrics_from_ranks` has the definitions.
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
