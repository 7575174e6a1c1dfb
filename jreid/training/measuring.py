"""Measures the model of a run: retrieval, predictions, target statistics, features for figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jreid.evaluation import predictions
from jreid.evaluation.evaluator import Measured
from jreid.evaluation.features import adapt_statistics
from jreid.methods.contract import SOURCE, TARGET, Params, State, Tree
from jreid.run.system import System
from jreid.training.data import Data


def measure(
    system: System,
    data: Data,
    params: Params,
    state: State,
    domain: str,
    *,
    rerank: bool = False,
    verify: bool = False,
) -> Measured:
    """Measures retrieval on the target's test split.

    Args:
      domain: whose batch-norm statistics are used.
      rerank: re-rank as well.
      verify: ask of all pairs, too, whether they show the same person.
    """
    return system.evaluator.measure(
        params,
        state,
        domain,
        data.target_query,
        data.target_gallery,
        has_cameras=data.target.has_cameras,
        rerank=rerank,
        verify=verify,
    )


def source_score(system: System, data: Data, params: Params, state: State) -> float:
    """Returns mAP on the source's own test split, by which the best checkpoint is chosen."""
    query, gallery = data.source_query, data.source_gallery
    assert query is not None
    assert gallery is not None
    has_cameras = data.source.has_cameras
    measured = system.evaluator.measure(
        params, state, SOURCE, query, gallery, has_cameras=has_cameras
    )
    return float(measured.metrics.mAP)


def adapted_statistics(
    system: System, data: Data, params: Params, state: State, *, batch: int, seed: int
) -> Mapping[str, Tree]:
    """Returns statistics whose target part is estimated anew on the target's training images.

    Args:
      batch: images per batch.
      seed: of the order of the images.
    """
    return adapt_statistics(
        system.functions.statistics(),
        params,
        state,
        data.target_train,
        batch=batch,
        mesh=system.evaluator.mesh,
        seed=seed,
    )


def predicted(
    system: System, data: Data, params: Params, state: State, domain: str
) -> dict[str, Any]:
    """Returns how well attributes and body parts are predicted, see `predictions.rows`."""
    evaluator = system.evaluator
    return predictions.rows(
        system.functions,
        system.problem.attribute_names,
        lambda: data.test_splits(domain),
        params,
        state,
        domain,
        batch=evaluator.batch,
        mesh=evaluator.mesh,
    )


def figure_features(
    system: System,
    data: Data,
    params: Params,
    state: State,
    domain: str,
    *,
    distances: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Returns the features that figures show: of both training splits and of the test split.

    Args:
      domain: whose batch-norm statistics target images are embedded with.
      distances: of a system that compares pairs, where they are at hand; else they are computed.
    """
    splits = {
        'query': data.target_query,
        'gallery': data.target_gallery,
        SOURCE: data.source_train,
        TARGET: data.target_train,
    }
    drawn = {}
    for name, feed in splits.items():
        own = SOURCE if name == SOURCE else domain
        drawn[name] = system.evaluator.features(
            params, state, own, feed, description='features for figures'
        )
    if system.method.score is not None:
        if distances is None:
            distances = system.evaluator.pair_distances(
                params, state, domain, data.target_query, data.target_gallery
            )
        drawn['distances'] = distances
    return drawn
