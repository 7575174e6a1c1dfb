"""Pairwise distances in blocks.

The size of the blocks changes no distance, but for the last digits of near-duplicates' distances.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from jreid.retrieval.checks import (
    Array,
    Features,
    check_pair,
    check_positive,
    check_switch,
    numbers,
)

Distance = Literal['euclidean', 'cosine', 'sqeuclidean']
# Queries per block: 256 rows against a gallery of 100,000 take 0.1 GiB in float32.
BLOCK = 256
# Gallery images per product: their float64 copy stays small and the product at full speed.
_COLUMNS = 4096
# Rows of it that are worked on at a time: their float64 numbers stay in the cache.
_ROWS = 32
# Distances of a block of rows at most, 0.125 GiB in float32. Each thread has one or two.
_ENTRIES = 1 << 25
# Below this share of |x|^2 + |y|^2 a squared distance is the rounding error of a zero.
_ZERO = 1e-12


def unit(features: Features) -> np.ndarray:
    """Divides every row by its Euclidean length.

    Every part of the package that normalises host features calls this function. So the same
    features have the same bits in an evaluation, in the ranked lists and in `jreid.load_run`. The
    division is in float64; the result is float32, or float64 for float64 features. A row of zeros
    stays zero, and its cosine distance to everything is 1. Losses and exported graphs divide by
    `jreid.losses.distances.unit`, which is traced and has a gradient, in float32: a last bit may
    differ.
    """
    array = numbers('features', features, '[images, width]', rows=0)
    out = np.empty(array.shape, np.float64 if array.dtype == np.float64 else np.float32)
    for start in range(0, array.shape[0], _COLUMNS):
        wide = array[start : start + _COLUMNS].astype(np.float64)
        length = np.sqrt(np.einsum('nd,nd->n', wide, wide))
        out[start : start + _COLUMNS] = wide / np.where(length > 0, length, 1.0)[:, None]
    return out


@jax.jit
def _product(x: Float[jax.Array, 'n d'], y: Float[jax.Array, 'm d']) -> Float[jax.Array, 'n m']:
    return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)


def on_gpu(on_device: bool | None) -> bool:
    """Returns whether a device computes: as asked, or for None if there is a GPU."""
    # Decided on the host, where this runs: whether its BLAS or a device multiplies. A TPU only
    # emulates float64.
    if on_device is None:
        return jax.default_backend() == 'gpu'
    check_switch(on_device=on_device)
    return bool(on_device)


def inner_products(x: np.ndarray, y: np.ndarray, *, on_device: bool | None = None) -> np.ndarray:
    """Computes inner products `[n, m]` in float64, on the GPU if there is one.

    Products in float64 make the distances of equal images equal after rounding to float32. The
    order of the other images then depends neither on the block size, nor the BLAS, nor the device.
    On the host they take twice as long as in float32, which is seconds for a whole benchmark.

    Args:
      on_device: whether to use the accelerator or the host's BLAS; None uses a GPU if there is one.
    """
    on_device = on_gpu(on_device)
    x, y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    if not on_device:
        return x @ y.T
    with jax.enable_x64(True):
        return np.asarray(_product(jnp.asarray(x), jnp.asarray(y)))


def squared_distances(
    x: np.ndarray,
    y: np.ndarray,
    *,
    centre: Float[np.ndarray, ' d'] | None = None,
    on_device: bool | None = None,
) -> np.ndarray:
    """Computes squared Euclidean distances `[n, m]` in float64 and rounds them to float32.

    They are never negative, and 0 for equal rows.

    Args:
      centre: subtracted from the rows of y, as it was from those of x.
      on_device: that of `inner_products`.
    """
    out = np.empty((x.shape[0], y.shape[0]), np.float32)
    x = x.astype(np.float64, copy=False)
    x_norm = np.einsum('nd,nd->n', x, x)[:, None]
    # Powers of two do not round, so a pass over the products is saved.
    x = -2.0 * x
    for start in range(0, y.shape[0], _COLUMNS):
        part = y[start : start + _COLUMNS].astype(np.float64, copy=False)
        if centre is not None:
            part = part - centre
        y_norm = np.einsum('md,md->m', part, part)[None]
        product = inner_products(x, part, on_device=on_device)
        # A few rows at a time stay in the cache: a third of the time of whole arrays. The product
        # of a device cannot be written to.
        for first in range(0, x.shape[0], _ROWS):
            rows = slice(first, first + _ROWS)
            squared = x_norm[rows] + y_norm
            squared += product[rows]
            if squared.min() < _ZERO * (x_norm[rows].max() + y_norm.max()):
                zero = squared < _ZERO * (x_norm[rows] + y_norm)
                np.copyto(squared, 0.0, where=zero)
            out[rows, start : start + _COLUMNS] = squared
    return out


def finish(squared: np.ndarray, x: np.ndarray, y: np.ndarray, distance: Distance) -> np.ndarray:
    """Turns squared distances `[n, m]` into the distance asked for, in their place.

    For `cosine`, x and y have unit length, and the distance to a row of zeros is 1.
    """
    if distance == 'euclidean':
        np.sqrt(squared, out=squared)
    elif distance == 'cosine':
        squared *= 0.5
        squared[~x.any(axis=1)] = 1
        squared[:, ~y.any(axis=1)] = 1
    return squared


def check_distance(distance: str) -> None:
    """Checks that the distance is known."""
    if not isinstance(distance, str) or distance not in get_args(Distance):
        raise ValueError(
            f"distance is {distance!r}; expected 'euclidean', 'cosine' or 'sqeuclidean'"
        )


def rows_at_once(block_size: int, columns: int) -> int:
    """Returns the rows of a block: `block_size`, or fewer where rows are long."""
    check_positive(block_size=block_size)
    return max(1, min(block_size, _ENTRIES // columns))


def block_parts(
    query: np.ndarray,
    gallery: np.ndarray,
    *,
    distance: Distance,
    block_size: int,
    progress: bool = False,
) -> tuple[Iterable[int], Callable[[int], tuple[int, Float[np.ndarray, 'b g']]]]:
    """Returns the first queries of blocks, and the function of one that gives it and its distances.

    They are float32 distances of a block of queries to the whole gallery. A block has `block_size`
    queries, or fewer for galleries of more than 131,072 images.

    `sqeuclidean` is |x - y|^2 and `euclidean` its root. `cosine` is 1 - x.y / (|x| |y|), from 0 to
    2, computed as |x/|x| - y/|y||^2 / 2.
    """
    step = rows_at_once(block_size, gallery.shape[0])
    check_distance(distance)
    if distance == 'cosine':
        query, gallery = unit(query), unit(gallery)
    starts = tqdm(
        range(0, query.shape[0], step),
        desc='distances',
        unit='block',
        disable=None if progress else True,
    )

    def rows(start: int) -> tuple[int, np.ndarray]:
        x = query[start : start + step]
        return start, finish(squared_distances(x, gallery), x, gallery, distance)

    return starts, rows


def blocks(
    query: np.ndarray,
    gallery: np.ndarray,
    *,
    distance: Distance,
    block_size: int,
    progress: bool = False,
) -> Iterator[tuple[int, Float[np.ndarray, 'b g']]]:
    """Yields (first query, distances) of the blocks of `block_parts`, one at a time."""
    starts, rows = block_parts(
        query, gallery, distance=distance, block_size=block_size, progress=progress
    )
    yield from map(rows, starts)


def pairwise(
    query: Float[Array, 'q d'],
    gallery: Float[Array, 'g d'],
    *,
    distance: Distance = 'euclidean',
    block_size: int = BLOCK,
    progress: bool = False,
) -> Float[np.ndarray, 'q g']:
    """Computes all distances of queries to gallery images, float32.

    Beyond the result, memory holds one block of distances.

    Raises:
      ValueError: NaN or infinite features, different widths or an unknown distance.
    """
    x, y = check_pair(query, gallery)
    out = np.empty((x.shape[0], y.shape[0]), np.float32)
    for start, block in blocks(x, y, distance=distance, block_size=block_size, progress=progress):
        out[start : start + block.shape[0]] = block
    return out


def row_blocks(
    distances: Float[Array, 'q g'], *, block_size: int, progress: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first query, block of rows) of a distance matrix, float32 or float64."""
    step = rows_at_once(block_size, distances.shape[1])
    for start in tqdm(
        range(0, distances.shape[0], step),
        desc='ranks',
        unit='block',
        disable=None if progress else True,
    ):
        block = np.asarray(distances[start : start + step])
        yield start, block if block.dtype in (np.float32, np.float64) else block.astype(np.float32)
