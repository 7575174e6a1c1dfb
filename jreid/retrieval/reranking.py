"""Re-ranking by k-reciprocal neighbourhoods and their Jaccard distance (Zhong et al. 2017)."""

from collections.abc import Callable, Iterable
from typing import get_args

import numpy as np
import scipy.sparse
from jaxtyping import Float
from tqdm import tqdm

from jreid.retrieval.checks import Array, check_features, check_pair, check_positive, is_number
from jreid.retrieval.distances import BLOCK, rows_at_once, squared_distances
from jreid.retrieval.reciprocal import Form, encode, overlaps
from jreid.retrieval.threads import in_turn

# Entries of the dense overlaps of one block of rows.
_DENSE = 1 << 20


def rerank(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    block_size: int = BLOCK,
    progress: bool = False,
    on_device: bool | None = None,
) -> Float[np.ndarray, 'q g']:
    """Computes re-ranked distances of queries to gallery images, float32.

    d*(p, g) = (1 - lambda) d_J(p, g) + lambda d(p, g) (Eq. 12). d is the squared Euclidean distance
    divided by the largest distance of p to any query or gallery image. The Jaccard distance is
    d_J(p, g) = 1 - sum_j min(V_p, V_g) / sum_j max(V_p, V_g) (Eq. 10), of the encodings V of
    `reciprocal.encode`. Their rows sum to 1, so the sum of the maxima is 2 less that of the minima.

    Queries and gallery images are neighbours of each other. L2-normalise the features first if the
    system compares them by cosine. Beyond the result, memory holds the k1 neighbourhoods and blocks
    of distances.

    Args:
      k1, k2: sizes of the neighbourhoods and of the mean over neighbours' encodings.
      lambda_value: weight of the original distance, 0 to 1.
      on_device: whether the accelerator searches the neighbours, as of `nearest`.

    Raises:
      ValueError: NaN or infinite features, different widths, k1, k2 or block_size below 1, or
        lambda_value outside 0 to 1.

    Source: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding",
    CVPR 2017.
    """
    x, y = check_pair(query, gallery)
    out = np.empty((x.shape[0], y.shape[0]), np.float32)
    starts, rows = reranked_parts(
        x,
        y,
        k1=k1,
        k2=k2,
        lambda_value=lambda_value,
        block_size=block_size,
        progress=progress,
        on_device=on_device,
    )
    for start, block in in_turn(rows, starts):
        out[start : start + block.shape[0]] = block
    return out


def reranked_parts(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k1: int,
    k2: int,
    lambda_value: float,
    block_size: int,
    progress: bool,
    on_device: bool | None,
) -> tuple[Iterable[int], Callable[[int], tuple[int, Float[np.ndarray, 'b g']]]]:
    """Returns the first queries of blocks, and the function of one that gives it and its rows.

    They are rows of `rerank` of checked features; arguments are its own.
    """
    check_positive(k1=k1, k2=k2, block_size=block_size)
    if not is_number(lambda_value) or not 0 <= lambda_value <= 1:
        raise ValueError(
            f'lambda_value is {lambda_value!r}; expected a weight from 0 (Jaccard alone) to 1 (the'
            ' original distance alone)'
        )
    encoding, near = encode(
        np.concatenate([x, y]),
        k1=k1,
        k2=k2,
        block_size=block_size,
        progress=progress,
        on_device=on_device,
    )
    q, g = x.shape[0], y.shape[0]
    inverted = encoding[q:].tocsc()
    weight = lambda_value / np.where(near.furthest > 0, near.furthest, 1)
    # Distances of many rows at a time, since each block converts the whole gallery; overlaps of
    # few, since they are dense and in float64.
    step, few = rows_at_once(block_size, g), max(1, min(block_size, _DENSE // g))

    def rows(start: int) -> tuple[int, np.ndarray]:
        block = squared_distances(x[start : start + step], y)
        block *= weight[start : start + block.shape[0], None].astype(np.float32)
        for first in range(0, block.shape[0], few):
            part = block[first : first + few]
            row = start + first
            minima = overlaps(encoding[row : row + part.shape[0]], inverted)
            minima /= 2 - minima
            minima *= lambda_value - 1
            minima += 1 - lambda_value
            part += minima.astype(np.float32)
        # Overlaps of equal neighbourhoods round to a little above 1, and no distance is negative.
        return start, np.maximum(block, 0, out=block)

    starts = tqdm(
        range(0, q, step), desc='re-ranking', unit='block', disable=None if progress else True
    )
    return starts, rows


def jaccard(
    features: Float[Array, 'n d'],
    *,
    k1: int = 20,
    k2: int = 6,
    form: Form = 'published',
    block_size: int = BLOCK,
    progress: bool = False,
    on_device: bool | None = None,
) -> scipy.sparse.csr_matrix:
    """Computes the sparse graph `[n, n]` of Jaccard distances between neighbourhoods, float32.

    The graph stores the pairs whose k-reciprocal neighbourhoods overlap; all others have distance
    1. Every sample stores itself with a distance of about 0. Explicit zeros therefore count: read
    `indptr`, `indices` and `data`, and do not prune. Columns ascend within a row. The distance is
    d_J of `rerank`. Memory is that of the overlapping pairs; n x n is never allocated. With k2 = 1
    a sample stores nothing, not even itself, where equal ones before it fill its neighbourhood.
    `jreid.clustering.dbscan(jaccard(x), eps=0.6, min_samples=4)` accepts the graph.

    Args:
      k1, k2: as of `rerank`.
      form: 'spcl' for the neighbourhoods of SpCL's and Cluster-Contrast's programs, see
        `reciprocal.encode`; their features have unit length.
      on_device: whether the accelerator searches the neighbours, as of `nearest`.

    Raises:
      ValueError: NaN or infinite features, k1, k2 or block_size below 1, or an unknown form.

    Source: Zhong et al. 2017, Eq. 10 and 11; as a clustering distance Fu et al. 2019 (SSG).
    """
    check_positive(k1=k1, k2=k2, block_size=block_size)
    if form not in get_args(Form):
        raise ValueError(f"form is {form!r}; expected 'published' or 'spcl'")
    x = check_features('sample', features)
    encoding, _ = encode(
        x,
        k1=k1,
        k2=k2,
        form=form,
        block_size=block_size,
        progress=progress,
        on_device=on_device,
    )
    inverted = encoding.tocsc()
    n = x.shape[0]
    step = max(1, min(block_size, _DENSE // n))

    def rows(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        minima = overlaps(encoding[start : start + step], inverted)
        # Of a flat mask: numpy searches several axes, and other types, at a third of the pace.
        overlap = minima > 0
        place = np.flatnonzero(overlap)
        lengths = overlap.sum(axis=1)
        shared = minima.ravel()[place]
        return (
            lengths,
            (place - np.repeat(np.arange(len(minima)) * n, lengths)).astype(np.int32),
            np.maximum(1 - shared / (2 - shared), 0).astype(np.float32),
        )

    starts = range(0, n, step)
    parts = tqdm(
        in_turn(rows, starts),
        total=len(starts),
        desc='jaccard',
        unit='block',
        disable=None if progress else True,
    )
    lengths, columns, distances = zip(*parts, strict=True)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return scipy.sparse.csr_matrix(
        (np.concatenate(distances), np.concatenate(columns), indptr), shape=(n, n)
    )
