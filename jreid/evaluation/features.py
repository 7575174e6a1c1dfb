"""Computes features of whole splits, and the target's batch-norm statistics (AdaBN)."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jreid.data.samplers import evaluation_plan, plain_plan
from jreid.engine import sharding
from jreid.engine.feeds import Feed
from jreid.engine.functions import OfImages
from jreid.methods.contract import Params, State, Tree

STATISTICS = 2**20
"""Stands in the seed where a plan's phase does, so that both never draw alike."""


def extract(
    function: OfImages,
    params: Params,
    state: State,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    description: str = '',
) -> Any:
    """Returns what `function` gives for every image of a split, in the index's order.

    The last batch is padded and the padding dropped. Every process computes its share and all get
    the whole.

    Args:
      function: a function of `jreid.engine.functions.Functions`.
      batch: images per batch; raised to a multiple of the devices.
      description: of the progress bar; '' for none.

    Returns:
      Numpy arrays [N, ...], a pytree where the function gives one.
    """
    batch += -batch % mesh.size
    plan = evaluation_plan(len(feed.index), batch)
    columns = sharding.local_columns(mesh, batch)
    parts = []
    bar = tqdm(
        total=len(feed.index),
        desc=description,
        unit='img',
        leave=False,
        disable=None if description and not jax.process_index() else True,
        mininterval=0.5,
    )
    with bar:
        for rows, images in zip(plan, feed.images(np.maximum(plan[:, columns], 0)), strict=True):
            output = function(params, state, sharding.spread(mesh, images))
            parts.append(jax.tree.map(sharding.gathered, output))
            bar.update(int((rows >= 0).sum()))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(feed.index)], *parts)


def adapt_statistics(
    function: OfImages,
    params: Params,
    state: State,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    seed: int,
    limit: int = 10_000,
) -> Mapping[str, Tree]:
    """Returns statistics whose target part is averaged over batches of target images (AdaBN).

    Source: Li et al. 2017, "Revisiting batch normalization for practical domain adaptation".
    Differs from it: the variance is the mean of the batches' own variances, so that the statistics
    are those that a training step sees.

    Args:
      function: `Functions.statistics()`.
      batch: images per batch.
      seed: of the order of the images.
      limit: the most images that are read.
    """
    batch = min(batch, len(feed.index))
    batch -= batch % mesh.size
    if batch:
        rng = np.random.default_rng((seed, STATISTICS))
        plan = plain_plan(len(feed.index), batch=batch, rng=rng)[: max(limit // batch, 1)]
    else:  # fewer images than devices: one batch that shows some twice
        batch = mesh.size
        plan = np.resize(np.arange(len(feed.index), dtype=np.int32), (1, batch))
    total = None
    for images in feed.images(plan[:, sharding.local_columns(mesh, batch)]):
        own = function(params, state, sharding.spread(mesh, images))
        total = own if total is None else jax.tree.map(lambda a, b: a + b, total, own)
    # Placed as a training step places them, so that no function compiles anew for them.
    return sharding.replicate(mesh, jax.tree.map(lambda x: x / len(plan), total))
