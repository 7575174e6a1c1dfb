"""Features of whole splits, AdaBN, and a model's numbers on the target's test split.

This is the only place outside `jreid.data` where labels of the target are read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from sklearn.metrics import adjusted_rand_score
from tqdm import tqdm

from jreid import attributes, sharding
from jreid.data import Index
from jreid.data.samplers import evaluation_plan, plain_plan
from jreid.feeding import Feed
from jreid.methods.contract import Tree
from jreid.retrieval import Metrics, evaluate, evaluate_distances, rerank
from jreid.retrieval.metrics import AveragePrecision


def extract(step: Callable[[Tree, jax.Array], Any], variables: Tree, feed: Feed, *, batch: int, mesh: Mesh, description: str = '') -> Any:
    """What `step` gives for every image of a split, in the index's order, as numpy arrays [N, ...] (a pytree where the step gives one).

    The last batch is padded and the padding dropped. Every process computes its share and all get the whole.
    """
    batch += -batch % mesh.size
    plan = evaluation_plan(len(feed.index), batch)
    columns = sharding.local_columns(mesh, batch)
    parts = []
    bar = tqdm(total=len(feed.index), desc=description, unit='img', leave=False, disable=not description or jax.process_index() > 0, mininterval=0.5)
    with bar:
        for rows, images in zip(plan, feed.images(np.maximum(plan[:, columns], 0)), strict=True):
            output = step(variables, sharding.spread(mesh, images))
            parts.append(jax.tree.map(lambda x: sharding.gathered(x), output))
            bar.update(int((rows >= 0).sum()))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(feed.index)], *parts)


def adapt_statistics(step: Callable[[Tree, jax.Array], Tree], variables: Tree, feed: Feed, *, batch: int, mesh: Mesh, seed: int, limit: int = 10000) -> Tree:
    """AdaBN: the model state with the target's batch-norm statistics averaged over batches of its training images (at most `limit`).

    Differs from Li et al. 2017: the variance is the mean of the batches' own variances, so that the statistics are those a training step sees.
    """
    batch = min(batch, len(feed.index))
    batch -= batch % mesh.size
    if batch:
        plan = plain_plan(len(feed.index), batch=batch, seed=seed, epoch=0)[: max(limit // batch, 1)]
    else:  # fewer images than devices: one batch that shows some twice
        batch = mesh.size
        plan = np.resize(np.arange(len(feed.index), dtype=np.int32), (1, batch))
    total = None
    for images in feed.images(plan[:, sharding.local_columns(mesh, batch)]):
        state = step(variables, sharding.spread(mesh, images))
        total = state if total is None else jax.tree.map(lambda a, b: a + b, total, state)
    return jax.tree.map(lambda x: x / len(plan), total)


def metrics_of(
    query: np.ndarray, gallery: np.ndarray, query_feed: Feed, gallery_feed: Feed, *, normalise: bool, average_precision: AveragePrecision, has_cameras: bool
) -> Metrics:
    """CMC, mAP and mINP of features; Euclidean distance, after L2 normalisation where the method says so."""
    if normalise:
        query, gallery = _unit(query), _unit(gallery)
    labels = labels_of(query_feed, gallery_feed, has_cameras)
    return evaluate(query, gallery, *labels, average_precision=average_precision)


def reranked(
    query: np.ndarray,
    gallery: np.ndarray,
    query_feed: Feed,
    gallery_feed: Feed,
    *,
    normalise: bool,
    average_precision: AveragePrecision,
    has_cameras: bool,
    k1: int,
    k2: int,
    lambda_value: float,
) -> Metrics:
    """The same after k-reciprocal re-ranking (Zhong et al. 2017)."""
    if normalise:
        query, gallery = _unit(query), _unit(gallery)
    distances = rerank(query, gallery, k1=k1, k2=k2, lambda_value=lambda_value)
    return evaluate_distances(distances, *labels_of(query_feed, gallery_feed, has_cameras), average_precision=average_precision)


def as_row(metrics: Metrics) -> dict[str, Any]:
    """Plain numbers of a summary's row: mAP and rank-k in percent, the CMC curve in 0..1."""
    cmc = np.asarray(metrics.cmc)
    ranks = {f'rank{k}': round(100 * float(cmc[min(k, len(cmc)) - 1]), 4) for k in (1, 5, 10, 20)}
    return {
        'mAP': round(100 * float(metrics.mAP), 4),
        **ranks,
        'mINP': round(100 * float(metrics.mINP), 4),
        'queries': int(metrics.queries),
        'skipped': int(metrics.skipped),
        'cmc': [round(float(x), 6) for x in cmc[:50]],
    }


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row that are worth a curve."""
    return {name: row[name] for name in ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')}


def attribute_rows(
    step: Callable[[Tree, jax.Array], jax.Array], variables: Tree, names: Sequence[str], feeds: Mapping[str, Sequence[Feed]], *, batch: int, mesh: Mesh
) -> dict[str, Any]:
    """How well attributes are predicted on test splits, wherever these label attributes of the same names: role -> `AttributeMetrics.as_row`.

    Args:
      step: images -> probabilities of `names`.
      feeds: role ('source', 'target') -> its test splits.
    """
    rows = {}
    for role, parts in feeds.items():
        parts = [feed for feed in parts if feed.index.attributes is not None and not np.isnan(feed.index.attributes).all()]
        ours, theirs, shared = attributes.shared_columns(names, parts[0].index.attribute_names if parts else ())
        if not shared:
            continue
        found = [extract(step, variables, feed, batch=batch, mesh=mesh, description=f'attributes of {role}') for feed in parts]
        predicted = np.concatenate(found)[:, ours]
        labels = np.concatenate([np.asarray(feed.index.attributes)[:, theirs] for feed in parts])
        rows[role] = attributes.measure(predicted, labels, shared).as_row()
    return rows


def pseudo_label_quality(truth: Index, images: Index, labels: np.ndarray) -> dict[str, float]:
    """How well pseudo labels agree with the true identities (adjusted Rand index, purity): logged, never read by training.

    Args:
      truth: the target's training split with its labels.
      images: the images that `labels` are for, some of those of `truth`.
      labels: int [N], -1 where an image has none; such images are not counted.
    """
    identity = dict(zip(truth.path.tolist(), truth.identity.tolist(), strict=True))
    true = np.asarray([identity[path] for path in images.path.tolist()])
    kept = (labels >= 0) & (true >= 0)
    if not kept.any():
        return {}
    table = np.zeros((labels.max() + 1, true.max() + 1), np.int64)
    np.add.at(table, (labels[kept], true[kept]), 1)
    return {'evaluation_rand': float(adjusted_rand_score(true[kept], labels[kept])), 'evaluation_purity': float(table.max(1).sum() / kept.sum())}


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def labels_of(query: Feed, gallery: Feed, has_cameras: bool) -> tuple:
    """Identities and cameras as the retrieval room takes them; cameras None where the camera rule is off."""
    cameras = (query.index.camera, gallery.index.camera) if has_cameras else (None, None)
    return query.index.identity, gallery.index.identity, *cameras
