"""k-reciprocal re-ranking and the Jaccard distance of neighbourhoods (Zhong et al. 2017)."""

import numpy as np
import scipy.sparse
from jaxtyping import Float
from tqdm import tqdm

from jreid.retrieval.checks import Array, check_features, check_pair, check_positive
from jreid.retrieval.distances import BLOCK, squared_distances
from jreid.retrieval.reciprocal import encode, overlaps

_DENSE = 1 << 20  # entries of the dense overlaps of one block of rows


def rerank(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    block_size: int = BLOCK,
    progress: bool = False,
) -> Float[np.ndarray, 'q g']:
    """Re-ranked distances of queries to gallery images, float32.

    d*(p, g) = (1 - lambda) d_J(p, g) + lambda d(p, g) (eq. 12), with d the squared Euclidean
    distance over the largest of p's distances to all queries and gallery images, and d_J(p, g) = 1
    - sum_j min(V_p, V_g) / sum_j max(V_p, V_g) (eq. 10) of the encodings V of `reciprocal.encode`,
    whose rows sum to 1, so that the sum of the maxima is 2 less that of the minima. Queries and
    gallery are neighbours of each other alike. L2-normalise the features first where the method
    compares them by cosine. Held beside the answer: the k1 neighbourhoods and blocks.

    Raises:
      ValueError: for NaN or infinite features, different widths, k1, k2 or block_size below 1, or
        lambda outside 0 to 1.

    Source: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding",
    CVPR 2017.
    """
    check_positive(k1=k1, k2=k2, block_size=block_size)
    if not 0 <= lambda_value <= 1:
        raise ValueError(
            f'lambda_value is {lambda_value}; expected a weight from 0 (Jaccard alone) to 1 (the'
            ' original distance alone)'
        )
    x, y = check_pair(query, gallery)
    encoding, near = encode(
        np.concatenate([x, y]), k1=k1, k2=k2, block_size=block_size, progress=progress
    )
    q, g = x.shape[0], y.shape[0]
    inverted = encoding[q:].tocsc()
    scale = np.where(near.furthest > 0, near.furthest, 1)
    out = np.empty((q, g), np.float32)
    step = max(1, min(block_size, _DENSE // g))
    for start in tqdm(range(0, q, step), desc='re-ranking', unit='block', disable=not progress):
        stop = min(start + step, q)
        minima = overlaps(encoding[start:stop], inverted)
        minima /= 2 - minima
        minima *= lambda_value - 1
        minima += 1 - lambda_value
        out[start:stop] = minima
        out[start:stop] += squared_distances(x[start:stop], y) * (
            lambda_value / scale[start:stop, None]
        ).astype(np.float32)
    return out


def jaccard(
    features: Float[Array, 'n d'],
    *,
    k1: int = 20,
    k2: int = 6,
    block_size: int = BLOCK,
    progress: bool = False,
) -> scipy.sparse.csr_matrix:
    """Jaccard distances of the k-reciprocal neighbourhoods of all pairs whose neighbourhoods
    overlap: a sparse neighbour graph `[n, n]`, float32.

    A pair that is not stored has distance 1; every sample stores itself with (about) 0, so that
    explicit zeros count: read `indptr`, `indices` and `data`, and do not prune. Columns ascend
    within a row. The distance is d_J of `rerank` with lambda 0. Memory is that of the overlapping
    pairs; n x n is never allocated. `jreid.clustering.dbscan(jaccard(x), eps=0.6, min_samples=4)`
    takes it as it is.

    Raises:
      ValueError: for NaN or infinite features, or k1, k2 or block_size below 1.

    Source: Zhong et al. 2017, eq. 10 and 11; as a clustering distance: Fu et al. 2019 (SSG).
    """
    check_positive(k1=k1, k2=k2, block_size=block_size)
    x = check_features('sample', features)
    encoding, _ = encode(x, k1=k1, k2=k2, block_size=block_size, progress=progress)
    inverted = encoding.tocsc()
    n = x.shape[0]
    step = max(1, min(block_size, _DENSE // n))
    lengths, columns, distances = [], [], []
    for start in tqdm(range(0, n, step), desc='jaccard', unit='block', disable=not progress):
        minima = overlaps(encoding[start : start + step], inverted)
        row, column = np.nonzero(minima)
        shared = minima[row, column]
        lengths.append(np.bincount(row, minlength=minima.shape[0]))
        columns.append(column.astype(np.int32))
        distances.append(np.maximum(1 - shared / (2 - shared), 0).astype(np.float32))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return scipy.sparse.csr_matrix(
        (np.concatenate(distances), np.concatenate(columns), indptr), shape=(n, n)
    )
