"""Compares queries with gallery images in blocks, for systems that score pairs (`Method.score`).

What a system needs of one image (`Method.pair_input`) is computed once per image. That of the
queries is kept in memory, or in a temporary file where it is larger than `KEPT`. That of the
gallery is kept for one block at a time. So memory grows with the gallery by the matrix of distances
only, for which the same limit holds.
"""

import math
import tempfile
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jreid.data.samplers import evaluation_plan
from jreid.engine import sharding
from jreid.engine.feeds import Feed
from jreid.engine.functions import OfImages, PairFunctions
from jreid.methods.contract import Params, State

KEPT = 2**30
"""Bytes from which on an array is kept in a temporary file."""


def pair_distances(
    functions: PairFunctions,
    params: Params,
    state: State,
    query: Feed,
    gallery: Feed,
    *,
    mesh: Mesh,
    batch: int,
    pairs: int,
    mirror: bool = False,
    kept: int = KEPT,
    progress: bool = True,
) -> np.ndarray:
    """Returns the probability that two images show different people, float32 [queries, gallery].

    Args:
      functions: `Functions.pairs(domain)`, made with the same `mirror`.
      batch: images of the gallery per block; they are split over the devices.
      pairs: about how many pairs the network compares at a time; with `mirror` a query and a
        gallery image are four.
      mirror: average over the mirror images of both sides.
      kept: bytes from which on the queries' part, or the distances, are kept in a temporary file.
      progress: show a progress bar on the first process.

    Raises:
      ValueError: a size below 1.
    """
    if batch < 1 or pairs < 1:
        raise ValueError(f'batch is {batch}, pairs is {pairs}; expected 1 or more')
    views = 2 if mirror else 1
    batch = min(batch, len(gallery.index))
    batch += -batch % mesh.size
    of_queries = _query_inputs(
        functions.query, params, state, query, batch=batch, mesh=mesh, kept=kept
    )
    columns = min(max(pairs // (batch * views**2), 1), len(query.index))
    distances = array_in_reach((len(query.index), len(gallery.index)), np.float32, kept=kept)
    plan = evaluation_plan(len(gallery.index), batch)
    bar = tqdm(
        total=distances.size,
        desc='pairs',
        unit='pair',
        unit_scale=True,
        leave=False,
        disable=None if progress and not jax.process_index() else True,
        mininterval=0.5,
    )
    with bar:
        waiting: tuple[slice, np.ndarray, jax.Array] | None = None
        done = 0
        for rows, images in zip(
            plan,
            gallery.images(np.maximum(plan[:, sharding.local_columns(mesh, batch)], 0)),
            strict=True,
        ):
            of_gallery = functions.gallery(params, state, sharding.spread(mesh, images))
            for start in range(0, len(of_queries), columns):
                # The last block begins earlier rather than be shorter: every block has the one
                # compiled size.
                start = min(start, len(of_queries) - columns)
                block = functions.compare(
                    params,
                    state,
                    sharding.replicate(mesh, np.asarray(of_queries[start : start + columns])),
                    of_gallery,
                )
                # Distances are read a block late, so that the device never waits for the host.
                if waiting:
                    _write(distances, *waiting)
                waiting = (slice(start, start + columns), rows, block)
                bar.update((start + columns) * int((rows >= 0).sum()) - done)
                done = (start + columns) * int((rows >= 0).sum())
            done = 0
        if waiting:
            _write(distances, *waiting)
    return distances


def _query_inputs(
    function: OfImages,
    params: Params,
    state: State,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    kept: int,
) -> np.ndarray:
    """Returns what `function` gives for every query, in order, [queries, views, ...]."""
    plan = evaluation_plan(len(feed.index), batch)
    whole: np.ndarray | None = None
    for rows, images in zip(
        plan, feed.images(np.maximum(plan[:, sharding.local_columns(mesh, batch)], 0)), strict=True
    ):
        inputs = sharding.gathered(function(params, state, sharding.spread(mesh, images)))
        if whole is None:
            whole = array_in_reach((len(feed.index), *inputs.shape[1:]), inputs.dtype, kept=kept)
        whole[rows[rows >= 0]] = inputs[rows >= 0]
    assert whole is not None
    return whole


def _write(distances: np.ndarray, queries: slice, rows: np.ndarray, block: jax.Array) -> None:
    """Puts a block [gallery rows, queries] into its place, without the padding."""
    known = rows >= 0
    distances[queries, rows[known][0] : rows[known][-1] + 1] = sharding.gathered(block)[known].T


def array_in_reach(
    shape: Sequence[int], dtype: np.typing.DTypeLike, *, kept: int = KEPT
) -> np.ndarray:
    """Returns an array to be written, in memory or in a temporary file.

    Args:
      kept: bytes from which on the array lies in a temporary file, which goes when the array does.
    """
    if math.prod(shape) * np.dtype(dtype).itemsize <= kept:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix='jreid-') as file:
        return np.memmap(file, dtype, 'w+', shape=tuple(shape))
