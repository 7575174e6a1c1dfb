"""The k nearest neighbours of many features, in blocks of the distance matrix."""

import dataclasses
import functools
import threading

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from jreid.retrieval.checks import Array, check_pair, check_positive
from jreid.retrieval.device_scan import DeviceScan
from jreid.retrieval.distances import BLOCK, on_gpu, squared_distances
from jreid.retrieval.threads import in_turn

# Columns per group: one pass of minima over the groups replaces a partition of the whole row.
_GROUP = 64
# Exact pairs per step: their differences stay in the cache.
_PAIRS = 1 << 8
# With more candidates per neighbour a row is full of equal distances and is searched whole.
_MANY = 64
# Groups per neighbour that a row reads again at most; one with more is full of them, too.
_MANY_GROUPS = 8
# Rounding errors of `squared_distances`, as shares of the squared lengths and of the distance.
_WIDE_MARGIN = 4e-12
_ROUNDING = 2.0**-20
# Features that differ by less have products too small for float32: XLA takes them for zeros.
_TINY = 1e-14


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of y for every row of x, ordered by (distance, index).

    Attributes:
      index: `[n, k]` int32 rows of y.
      squared: `[n, k]` float32 squared Euclidean distances.
      furthest: `[n]` float32 squared distance of the furthest row of y. Products choose it, so
        another of nearly its distance may stand for it.
    """

    index: np.ndarray
    squared: np.ndarray
    furthest: np.ndarray


def nearest(
    x: Float[Array, 'n d'],
    y: Float[Array, 'm d'],
    *,
    k: int,
    block_size: int = BLOCK,
    progress: bool = False,
    on_device: bool | None = None,
) -> Neighbours:
    """Finds the k nearest rows of y for every row of x.

    If x is y, a row is its own neighbour, but for one after k rows that are equal to it. A k above
    the number of rows of y is reduced to it. Memory holds `block_size` rows of distances per
    thread. Products choose candidates, with a margin for their rounding error; differences in
    float64 decide. Neighbours and distances are those of a stable sort of such distances rounded to
    float32, for every block size, on the host and on the device.

    Products are in float32. Rows with hundreds of candidates get others in float64, and so do all
    rows where y has fewer than 16 k, or differs by less than 1e-14. Of a row with more than 64 k
    images within some 1e-6 of the features' distance from the mean of y, those are ordered by the
    products, which may tie them, in the order of y.

    Args:
      on_device: whether the accelerator searches, or the host; None uses a GPU if there is one.

    Raises:
      ValueError: NaN or infinite features, different widths, or k or block_size below 1.
    """
    check_positive(k=k, block_size=block_size)
    on_device = on_gpu(on_device)
    left, right = check_pair(x, y)
    k = min(k, right.shape[0])
    if right.shape[0] < 16 * k or np.ptp(right, axis=0).max() < _TINY:
        parts = [left[a : a + block_size] for a in range(0, left.shape[0], block_size)]
        centre = right.mean(axis=0, dtype=np.float64)
        fixed = centre, _longest(right, centre), k, on_device
        return _join(list(in_turn(lambda part: _whole_rows(part, right, *fixed), parts)))
    rows = min(block_size, left.shape[0])
    scan = _DeviceSearch(right, k, rows) if on_device else _Scan(right, k, rows)
    starts = range(0, left.shape[0], scan.step)
    blocks = in_turn(
        lambda a: scan(left[a : a + scan.step]),
        starts,
        # A device has threads of its own.
        threads=1 if on_device else None,
    )
    bar = tqdm(
        blocks,
        total=len(starts),
        desc='neighbours',
        unit='block',
        disable=None if progress else True,
    )
    return _join(list(bar))


def pair_distances(x: np.ndarray, y: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Computes float32 squared distances of the pairs (x[row], y[column]).

    They come from differences, not from products, so that equal features have distance 0 exactly.
    All is in float64 but the result.
    """
    out = np.empty(row.shape[0], np.float32)
    for start in range(0, row.shape[0], _PAIRS):
        part = slice(start, start + _PAIRS)
        difference = x[row[part]].astype(np.float64)
        difference -= y[column[part]]
        out[part] = np.vecdot(difference, difference)
    return out


class _Scan:
    """A search for the nearest rows of one y, called with blocks of x by any number of threads.

    The k smallest values of a row lie in groups whose minimum is not above the k-th smallest
    minimum of all groups. Only those groups are read again.
    """

    def __init__(self, y: np.ndarray, k: int, block_size: int, *, on_device: bool = False) -> None:
        rows, width = y.shape
        self.y, self.k, self.rows, self.step = y, k, rows, block_size
        self.on_device = on_device  # whether it multiplies for the rows that are searched whole
        self.group = _group(rows, k)
        self.groups = -(-rows // self.group)
        # A shift keeps the distances, and shorter features have smaller rounding errors.
        self.centre = y.mean(axis=0, dtype=np.float64)
        padded = np.zeros((self.group * self.groups, width + 1), np.float32)
        np.subtract(y, self.centre, out=padded[:rows, :width], casting='same_kind')
        padded[:rows, width] = np.einsum(
            'md,md->m', padded[:rows, :width], padded[:rows, :width], dtype=np.float64
        )
        self.padded = padded
        self.scratch = threading.local()
        self.margin = _margin(width)
        self.longest = float(padded[:rows, width].max())

    def __call__(self, x: np.ndarray) -> Neighbours:
        n, width = x.shape
        probe = np.empty((n, width + 1), np.float32)
        shifted = x - self.centre
        probe[:, :width] = -2 * shifted
        probe[:, width] = 1
        norm = np.einsum('nd,nd->n', shifted, shifted)
        # The squared distance less the norm of x. Every block of a thread reuses the memory, since
        # fresh pages cost as much as half of the product.
        if not hasattr(self.scratch, 'score'):
            self.scratch.score = np.empty((self.step, self.padded.shape[0]), np.float32)
        score = np.matmul(probe, self.padded.T, out=self.scratch.score[:n])
        # Of a part of the columns, numpy would copy the whole block first.
        score[:, self.rows :] = -np.inf
        furthest = pair_distances(x, self.y, np.arange(n), score.argmax(axis=1))
        score[:, self.rows :] = np.inf
        score = score.reshape(n, self.group, self.groups)
        minima = score.min(axis=1)
        limit = np.partition(minima, self.k - 1, axis=1)[:, self.k - 1] + self.margin * (
            norm + self.longest
        )
        near = minima <= limit[:, None]
        # Their groups are not even read again: a candidate's two indices take 16 bytes.
        crowded = near.sum(axis=1) > _MANY_GROUPS * self.k
        near[crowded] = False
        row, group = np.nonzero(near)
        member, position = np.nonzero(score[row, :, group] <= limit[row, None])
        column = position * self.groups + group[member]
        row = row[member]
        crowded |= np.bincount(row, minlength=n) > _MANY * self.k
        index, squared = _decide(x, self.y, row, column, self.k, ~crowded)
        if crowded.any():
            fixed = self.centre, self.longest, self.k, self.on_device
            whole = _whole_rows(x[crowded], self.y, *fixed)
            index[crowded], squared[crowded] = whole.index, whole.squared
        return Neighbours(index, squared, furthest)


class _DeviceSearch:
    """A search on the device, whose crowded rows the host searches again."""

    def __init__(self, y: np.ndarray, k: int, block_size: int) -> None:
        self.y, self.k = y, k
        self.device = DeviceScan(
            y,
            y.mean(axis=0, dtype=np.float64),
            k=k,
            group=_group(y.shape[0], k),
            margin=_margin(y.shape[1]),
            block_size=block_size,
        )
        self.step = self.device.rows

    @functools.cached_property
    def host(self) -> _Scan:
        return _Scan(self.y, self.k, self.step, on_device=True)

    def __call__(self, x: np.ndarray) -> Neighbours:
        index, squared, furthest, crowded = self.device(x)
        if not crowded.any():
            return Neighbours(index, squared, furthest)
        again = self.host(x[crowded])
        index, squared = index.copy(), squared.copy()
        index[crowded], squared[crowded] = again.index, again.squared
        return Neighbours(index, squared, furthest)


def _group(rows: int, k: int) -> int:
    """Returns the columns per group, such that there are at least 4 k groups."""
    return min(_GROUP, rows // (4 * k))


def _margin(width: int) -> float:
    """Returns the bound on the error of a squared distance, as a share of the squared lengths."""
    return float(8 * np.sqrt(width + 16) * np.finfo(np.float32).eps)


def _decide(
    x: np.ndarray,
    y: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    k: int,
    decided: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the k nearest of the candidates (row of x, column of y), by exact distances.

    Args:
      decided: `[n]` bool, the rows of x that have k candidates or more; others come back unset.
    """
    keep = decided[row]
    row, column = row[keep], column[keep]
    exact = pair_distances(x, y, row, column)
    order = np.lexsort((column, exact, row))
    chosen = order[np.searchsorted(row[order], np.flatnonzero(decided))[:, None] + np.arange(k)]
    index, squared = np.empty((x.shape[0], k), np.int32), np.empty((x.shape[0], k), np.float32)
    index[decided], squared[decided] = column[chosen], exact[chosen]
    return index, squared


def _longest(y: np.ndarray, centre: np.ndarray) -> float:
    """Returns the largest squared length of the rows of y less the centre."""
    parts = (y[start : start + BLOCK] - centre for start in range(0, y.shape[0], BLOCK))
    return max(float(np.einsum('md,md->m', part, part).max()) for part in parts)


def _whole_rows(
    x: np.ndarray, y: np.ndarray, centre: np.ndarray, longest: float, k: int, on_device: bool
) -> Neighbours:
    """Finds the k nearest rows by whole rows of products in float64, which leave few candidates.

    Where they leave many, too, whole rows are sorted: collapsed features would take minutes.

    Args:
      centre: `[d]` float64 mean of y; a shift keeps the distances, as in `_Scan`.
      longest: the largest squared length of the rows of y less the centre.
    """
    shifted = x - centre
    distances = squared_distances(shifted, y, centre=centre, on_device=on_device)
    length = np.einsum('nd,nd->n', shifted, shifted)
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1].astype(np.float64)
    limit = kth * (1 + _ROUNDING) + _WIDE_MARGIN * (length + longest)
    near = distances <= np.nextafter(limit.astype(np.float32), np.float32(np.inf))[:, None]
    crowded = near.sum(axis=1) > _MANY * k
    near[crowded] = False
    row, column = np.nonzero(near)
    index, squared = _decide(x, y, row, column, k, ~crowded)
    # One at a time, since the order of a row takes twice the memory of its distances.
    for i in np.flatnonzero(crowded):
        index[i] = np.argsort(distances[i], kind='stable')[:k]
        squared[i] = distances[i, index[i]]
    furthest = pair_distances(x, y, np.arange(x.shape[0]), distances.argmax(axis=1))
    return Neighbours(index, squared, furthest)


def _join(parts: list[Neighbours]) -> Neighbours:
    """Concatenates the neighbours of several blocks of x."""
    return Neighbours(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Neighbours)
        )
    )
