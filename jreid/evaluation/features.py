"""Features of whole splits, AdaBN, and a model's numbers on the target's test split.

This is the only place outside `jreid.data` where labels of the target are read.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jreid.data.samplers import evaluation_plan, plain_plan
from jreid.engine import sharding
from jreid.engine.feeds import Feed
from jreid.methods.contract import Tree


def extract(
    step: Callable[[Tree, jax.Array], Any],
    variables: Tree,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    description: str = '',
) -> Any:
    """What `step` gives for every image of a split, in the index's order, as numpy arrays [N, ...]
    (a pytree where the step gives one).

    The last batch is padded and the padding dropped. Every process computes its share and all get
    the whole.
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
        disable=not description or jax.process_index() > 0,
        mininterval=0.5,
    )
    with bar:
        for rows, images in zip(plan, feed.images(np.maximum(plan[:, columns], 0)), strict=True):
            output = step(variables, sharding.spread(mesh, images))
            parts.append(jax.tree.map(lambda x: sharding.gathered(x), output))
            bar.update(int((rows >= 0).sum()))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(feed.index)], *parts)


def adapt_statistics(
    step: Callable[[Tree, jax.Array], Tree],
    variables: Tree,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    seed: int,
    limit: int = 10000,
) -> Tree:
    """AdaBN: the model state with the target's batch-norm statistics averaged over batches of its
    training images (at most `limit`).

    Differs from Li et al. 2017: the variance is the mean of the batches' own variances, so that the
    statistics are those a training step sees.
    """
    batch = min(batch, len(feed.index))
    batch -= batch % mesh.size
    if batch:
        rng = np.random.default_rng(seed)
        plan = plain_plan(len(feed.index), batch=batch, rng=rng)[: max(limit // batch, 1)]
    else:  # fewer images than devices: one batch that shows some twice
        batch = mesh.size
        plan = np.resize(np.arange(len(feed.index), dtype=np.int32), (1, batch))
    total = None
    for images in feed.images(plan[:, sharding.local_columns(mesh, batch)]):
        state = step(variables, sharding.spread(mesh, images))
        total = state if total is None else jax.tree.map(lambda a, b: a + b, total, state)
    return jax.tree.map(lambda x: x / len(plan), total)
