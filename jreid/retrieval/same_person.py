"""Verification: how well a distance tells pairs of the same person from pairs of different people.

Same pairs are few and are kept; different pairs are counted, block by block, between the distances
of the same pairs. So the figures are those of a full ROC curve, and memory is that of one block.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float

from jreid.retrieval.checks import (
    Array,
    Labels,
    check_distances,
    check_pair,
    check_positive,
    check_switch,
    is_number,
)
from jreid.retrieval.distances import BLOCK, Distance, blocks, row_blocks, unit
from jreid.retrieval.metrics import check_valid
from jreid.retrieval.relevance import Relevance, check_sizes, relevance

RATES = (1e-1, 1e-2, 1e-3, 1e-4)
"""False positive rates at which the true positive rate is given."""
BINS = 100
"""Bins of the histogram of distances."""
Blocks = Iterable[tuple[int, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Verification:
    """Figures of the ROC curve; a pair counts as the same person at a distance <= a threshold.

    Attributes:
      rates: [r] false positive rates: accepted different pairs / different pairs.
      tpr: [r] float64, accepted same pairs / same pairs, the most that a threshold reaches with at
        most that false positive rate. NaN where there are fewer different pairs than 1 / rate,
        which cannot show so low a rate.
      thresholds: [r] float64, the least distance that reaches `tpr`; NaN where `tpr` is NaN or 0.
      eer: rate at which false positives equal false negatives, on the straight line between two
        thresholds.
      eer_threshold: the distance of a same pair next to that point.
      auc: area under the ROC curve, the probability that a same pair is nearer than a different
        one; ties count half.
      same, different: number of pairs.
      edges: [b + 1] distances, the bounds of the histogram's bins. A bin lacks its upper bound,
        except the last.
      same_counts, different_counts: [b] pairs per bin.
    """

    rates: tuple[float, ...]
    tpr: np.ndarray
    thresholds: np.ndarray
    eer: float
    eer_threshold: float
    auc: float
    same: int
    different: int
    edges: np.ndarray
    same_counts: np.ndarray
    different_counts: np.ndarray

    def __str__(self) -> str:
        rates = '  '.join(
            f'TPR {"-" if np.isnan(tpr) else f"{tpr:.2%}"} at FPR {rate:g}'
            for rate, tpr in zip(self.rates, self.tpr, strict=True)
        )
        return (
            f'{rates}  EER {self.eer:.2%}  AUC {self.auc:.4f}  ({self.same:,} pairs of the same'
            f' person, {self.different:,} of different people)'
        )


def verification(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    distance: Distance = 'euclidean',
    rates: Sequence[float] = RATES,
    block_size: int = BLOCK,
    progress: bool = False,
    normalise: bool = False,
) -> Verification:
    """Computes TPR at low FPR, EER, AUC and thresholds over all pairs of query and gallery.

    The pairs are those that `evaluate` compares: without the query's own identity and camera,
    without junk (identity -1) in the gallery, and without queries of identity -1. Two images of one
    split are compared by passing the split twice, with cameras, or its halves.

    Args:
      query_cameras, gallery_cameras: None for both counts pairs of one camera as well.
      rates: false positive rates, above 0 and up to 1.
      block_size: queries per block. Memory holds this many rows of the distance matrix.
      normalise: divide every feature by its length first, see `unit`.

    Raises:
      ValueError: NaN or infinite features, sizes that do not fit, a rate out of range, no pair of
        the same person or none of different people.

    Source: Fawcett 2006, "An introduction to ROC analysis"; the curve has one point per distinct
    distance, as that of scikit-learn's `roc_curve` without its dropped points.
    """
    check_positive(block_size=block_size)
    check_switch(normalise=normalise)
    x, y = check_pair(query, gallery)
    if normalise:
        x, y = unit(x), unit(y)
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    check_sizes((x.shape[0], y.shape[0]), related)
    check_valid(related.matches)

    def parts() -> Blocks:
        return blocks(x, y, distance=distance, block_size=block_size, progress=progress)

    same = []
    for start in range(0, x.shape[0], block_size):
        row, column = related.entries(start, min(start + block_size, x.shape[0]))
        if row.size:
            listed, place = np.unique(column, return_inverse=True)
            rows = x[start : start + block_size]
            few = blocks(rows, y[listed], distance=distance, block_size=block_size)
            same.append(next(iter(few))[1][row, place])
    ceiling = 2.0 if distance == 'cosine' else _reach(x, y)
    edges = np.linspace(0, ceiling**2 if distance == 'sqeuclidean' else ceiling, BINS + 1)
    return _verify(parts, np.concatenate(same), related, edges, rates)


def verification_distances(
    distances: Float[Array, 'q g'],
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    *,
    rates: Sequence[float] = RATES,
    block_size: int = BLOCK,
    progress: bool = False,
) -> Verification:
    """Computes `verification` of a distance matrix (smaller is nearer).

    Raises:
      ValueError: NaN distances, sizes that do not fit, a rate out of range, no pair of the same
        person or none of different people.
    """
    related = relevance(query_ids, gallery_ids, query_cameras, gallery_cameras)
    distances = check_distances(distances)
    check_sizes(distances.shape, related)
    check_valid(related.matches)
    same, bounds = [], []
    for start, block in row_blocks(distances, block_size=block_size, progress=False):
        if np.isnan(block).any():
            bad = start + int(np.flatnonzero(np.isnan(block).any(axis=1))[0])
            raise ValueError(
                f'distances of query {bad} hold NaN; expected numbers (infinity is allowed)'
            )
        same.append(block[related.entries(start, start + block.shape[0])])
        finite = block[np.isfinite(block)]
        bounds += [finite.min(), finite.max()] if finite.size else []
    least, most = (min(bounds), max(bounds)) if bounds else (0, 1)
    edges = np.linspace(min(0.0, float(least)), float(most) + float(most == least), BINS + 1)

    def parts() -> Blocks:
        return row_blocks(distances, block_size=block_size, progress=progress)

    return _verify(parts, np.concatenate(same), related, edges, rates)


def _reach(x: np.ndarray, y: np.ndarray) -> float:
    """Returns a bound on the distances of x to y: the sum of their radii about one centre."""
    centre = x.mean(axis=0, dtype=np.float64)
    # In blocks: the difference is float64, twice the memory of the features.
    radii = [
        max(
            np.sqrt(np.square(part[start : start + BLOCK] - centre).sum(axis=1).max())
            for start in range(0, len(part), BLOCK)
        )
        for part in (x, y)
    ]
    return float(sum(radii)) or 1.0


def _verify(
    parts: Callable[[], Blocks],
    same: np.ndarray,
    related: Relevance,
    edges: np.ndarray,
    rates: Sequence[float],
) -> Verification:
    """Counts the different pairs between the distances of the same pairs, and reads the curve."""
    several = tuple(rates) if isinstance(rates, Iterable) and not isinstance(rates, str) else ()
    if not several or not all(is_number(rate) and 0 < rate <= 1 for rate in several):
        raise ValueError(f'rates are {rates!r}; expected one or more numbers in (0, 1]')
    rates = several
    at, times = np.unique(same, return_counts=True)
    below, upto = np.zeros(at.size, np.int64), np.zeros(at.size, np.int64)
    inner = np.zeros(edges.size - 2, np.int64)
    for start, block in parts():
        hidden = related.hide(block, start)
        hidden[related.entries(start, start + block.shape[0])] = np.inf
        hidden[related.query_ids[start : start + block.shape[0]] < 0] = np.inf
        ordered = np.sort(hidden, axis=None)
        below += ordered.searchsorted(at, 'left')
        upto += ordered.searchsorted(at, 'right')
        inner += _below(ordered, edges)
    known = int((related.query_ids >= 0).sum())
    own = int(np.diff(related.left_out_start).sum())
    different = known * (related.gallery - related.junk.size) - own - same.size
    if different < 1:
        raise ValueError(
            "no pair of different people is left after images of the query's own identity and"
            ' camera are left out; expected at least two identities'
        )
    # Images that are left out were given infinite distances.
    upto[np.isinf(at)] = different
    false_below, false_upto = below / different, upto / different
    true = np.cumsum(times) / same.size
    before = true - times / same.size
    reached = np.searchsorted(false_upto, rates, 'right')
    fine = np.asarray(rates) * different >= 1
    tpr = np.where(fine, np.append(0, true)[reached], np.nan)
    thresholds = np.where(fine & (reached > 0), at[np.maximum(reached - 1, 0)], np.nan)
    eer, place = _equal_errors(false_below, before, false_upto, true)
    same_inner = _below(np.sort(same), edges)
    return Verification(
        rates=tuple(float(rate) for rate in rates),
        tpr=tpr,
        thresholds=thresholds.astype(np.float64),
        eer=eer,
        eer_threshold=float(at[place]),
        auc=float((times / same.size * (1 - (false_below + false_upto) / 2)).sum()),
        same=int(same.size),
        different=different,
        edges=edges,
        same_counts=np.diff(same_inner, prepend=0, append=same.size),
        different_counts=np.diff(inner, prepend=0, append=different),
    )


def _below(ordered: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts the distances below each inner bound of the histogram."""
    return ordered.searchsorted(edges[1:-1].astype(ordered.dtype), 'left')


def _equal_errors(
    below: np.ndarray, before: np.ndarray, upto: np.ndarray, true: np.ndarray
) -> tuple[float, int]:
    """Returns where the curve meets false positives = false negatives, and the threshold's place.

    At each same pair's distance the curve goes from (below, before) to (upto, true), and then level
    to the next. The sum of both coordinates grows along it and is 1 at the meeting.
    """
    place = int(np.argmax(upto + true >= 1))
    start = below[place] + before[place]
    if start >= 1:  # on the level part in front of this distance
        return float(1 - before[place]), max(place - 1, 0)
    share = (1 - start) / (upto[place] + true[place] - start)
    return float(below[place] + share * (upto[place] - below[place])), place
