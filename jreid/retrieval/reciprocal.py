"""Sparse encodings of k-reciprocal neighbourhoods (Zhong et al. 2017, section 3)."""

from typing import Literal

import numpy as np
import scipy.sparse
from tqdm import tqdm

from jreid.retrieval.neighbours import Neighbours, nearest, pair_distances

# Entries of the dense look-up table of one block of rows.
_TABLE = 1 << 24

Form = Literal['published', 'spcl']
"""Of the encoding, see `encode`."""


def encode(
    features: np.ndarray,
    *,
    k1: int,
    k2: int,
    block_size: int,
    progress: bool,
    form: Form = 'published',
    on_device: bool | None = None,
) -> tuple[scipy.sparse.csr_matrix, Neighbours]:
    """Computes the neighbourhood encoding V of every feature and returns it with the neighbours.

    V is `[N, N]`, sparse, float32, and every row sums to 1. N(i, k) denotes the k + 1 nearest
    samples of i, with i itself unless equal ones before it fill the list; then its row is empty
    where k2 is 1.

    - R(i, k) = {j in N(i, k): i in N(j, k)} (Eq. 1 and 2).
    - R*(i) is the union of R(i, k1) and of every R(j, h), j in R(i, k1), of which more than 2/3
      lies in R(i, k1) (Eq. 4). Here h is k1 / 2, rounded half to even.
    - V(i, j) = exp(-d(i, j)) on R*(i) (Eq. 7), divided by the sum of the row. d is the squared
      Euclidean distance divided by the largest of row i.
    - V(i) becomes the mean of V over the k2 nearest samples of i, with i itself (Eq. 11).

    With `form='spcl'` it is the encoding of the program of SpCL (Ge et al. 2020), which
    Cluster-Contrast and most after it took over: N(i, k1) has k1 samples, with i itself, where
    N(i, h) has h + 1, and d is not divided.

    Memory is that of the neighbourhoods. `on_device` is that of `nearest`.
    """
    count = features.shape[0]
    near = nearest(
        features,
        features,
        k=max(k1 + 1, k2),
        block_size=block_size,
        progress=progress,
        on_device=on_device,
    )
    lists = near.index[:, : k1 + 1 if form == 'published' else k1]
    half = lists[:, : round(k1 / 2) + 1]
    scale = np.where((near.furthest > 0) & (form == 'published'), near.furthest, 1)
    mutual, half_mutual = reciprocal(lists), reciprocal(half)
    rows_at_once = max(1, min(block_size, _TABLE // count))
    known = np.full((rows_at_once, count), np.nan, np.float32)
    member = np.zeros((rows_at_once, count), bool)
    lengths, columns, weights = [], [], []
    for start in tqdm(
        range(0, count, rows_at_once),
        desc='k-reciprocal',
        unit='block',
        disable=None if progress else True,
    ):
        stop = min(start + rows_at_once, count)
        block = np.arange(stop - start)[:, None]
        row, position = np.nonzero(mutual[start:stop])
        candidate = lists[start + row, position]
        member[row, candidate] = True
        theirs, valid = half[candidate], half_mutual[candidate]
        shared = (member[row[:, None], theirs] & valid).sum(axis=1)
        joined = (3 * shared > 2 * valid.sum(axis=1))[:, None] & valid
        member[row, candidate] = False
        extra_row = np.broadcast_to(row[:, None], joined.shape)[joined]
        key = np.concatenate([row * count + candidate, extra_row * count + theirs[joined]])
        # np.unique hashes first, which takes 20 times as long as this sort.
        key.sort()
        key = key[np.diff(key, prepend=-1) > 0]
        row, column = key // count, key % count

        known[block, lists[start:stop]] = near.squared[start:stop, : lists.shape[1]]
        squared = known[row, column]
        known[block, lists[start:stop]] = np.nan
        missing = np.isnan(squared)
        squared[missing] = pair_distances(features, features, start + row[missing], column[missing])

        weight = np.exp(-(squared / scale[start + row]).astype(np.float64))
        total = np.bincount(row, weights=weight, minlength=stop - start)
        lengths.append(np.bincount(row, minlength=stop - start))
        columns.append(column.astype(np.int32))
        weights.append((weight / total[row]).astype(np.float32))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    encoding = scipy.sparse.csr_matrix(
        (np.concatenate(weights), np.concatenate(columns), indptr), shape=(count, count)
    )
    if k2 > 1:
        nearby = near.index[:, :k2]
        average = scipy.sparse.csr_matrix(
            (
                np.full(nearby.size, 1 / nearby.shape[1], np.float32),
                nearby.ravel(),
                np.arange(count + 1) * nearby.shape[1],
            ),
            shape=(count, count),
        )
        encoding = average @ encoding
    return encoding, near


def reciprocal(lists: np.ndarray) -> np.ndarray:
    """Returns the mask `[N, k]` of the neighbours that have i in their own list.

    Row i of `lists [N, k]` has the neighbours of sample i.
    """
    out = np.empty(lists.shape, bool)
    step = max(1, (1 << 22) // lists.shape[1] ** 2)
    for start in range(0, lists.shape[0], step):
        own = np.arange(start, min(start + step, lists.shape[0]))[:, None, None]
        out[start : start + step] = (lists[lists[start : start + step]] == own).any(axis=2)
    return out


def overlaps(rows: scipy.sparse.csr_matrix, columns: scipy.sparse.csc_matrix) -> np.ndarray:
    """Computes the dense `[b, m]` float64 sums over j of min(rows[a, j], columns[c, j]).

    `columns` is the encoding of m samples stored by columns, an inverted index.
    """
    height, width = rows.shape[0], columns.shape[0]
    row = np.repeat(np.arange(height), np.diff(rows.indptr))
    first = columns.indptr[rows.indices]
    length = columns.indptr[rows.indices + 1] - first
    entry = np.repeat(first - (np.cumsum(length) - length), length) + np.arange(length.sum())
    smaller = np.minimum(np.repeat(rows.data, length), columns.data[entry])
    sums = np.bincount(
        np.repeat(row * width, length) + columns.indices[entry],
        weights=smaller,
        minlength=height * width,
    )
    # Of no overlap at all, numpy counts in whole numbers.
    return sums.astype(np.float64, copy=False).reshape(height, width)
