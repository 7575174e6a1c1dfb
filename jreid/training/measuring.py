"""Measures the model of a run: retrieval, predictions, target statistics, features for figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jreid.engine.feeds import Feed
from jreid.engine.state import TrainState
from jreid.evaluation import predictions
from jreid.evaluation.evaluator import Measured
from jreid.evaluation.features import adapt_statistics, extract
from jreid.methods.contract import SOURCE, TARGET, Params, State, Tree
from jreid.run.system import System
from jreid.training.data import Data, Test


def measure(
    system: System,
    test: Test,
    params: Params,
    state: State,
    domain: str,
    *,
    rerank: bool = False,
    verify: bool = False,
) -> Measured:
    """Measures retrieval on the run's test split.

    Args:
      domain: whose batch-norm statistics the target is embedded with.
      rerank: re-rank as well.
      verify: also compute verification metrics over all pairs.
    """
    return system.evaluator.measure(
        params,
        state,
        test.statistics(domain),
        test.query,
        test.gallery,
        has_cameras=test.splits.has_cameras,
        rerank=rerank,
        verify=verify,
    )


def rows(
    system: System,
    data: Data,
    params: Params,
    state: State,
    domain: str,
    *,
    name: str,
    kind: str,
    rerank: bool,
) -> tuple[dict[str, dict[str, Any]], np.ndarray | None]:
    """Measures a model for the summary.

    Args:
      domain: whose batch-norm statistics the target is embedded with.
      name: of the row.
      kind: of the row, see `jreid.evaluation.kinds`.
      rerank: re-rank as well, for a row of its own.

    Returns:
      name -> row, none without a test split; and the distances [q, g] of a system that compares
      pairs.
    """
    predictions = predicted(system, data, params, state, domain)
    if not system.method.retrieves:
        return {name: predictions}, None
    if data.test is None:
        return {}, None
    measured = measure(system, data.test, params, state, domain, rerank=rerank, verify=True)
    made = measured.rows(name, kind=kind)
    made[name] |= predictions
    if data.test.role == SOURCE:
        for row in made.values():
            row['split'] = SOURCE
    return made, measured.distances


def source_score(system: System, data: Data, params: Params, state: State) -> float:
    """Returns mAP on the source's own test split, by which the best checkpoint is chosen."""
    query, gallery = data.source_query, data.source_gallery
    assert query is not None
    assert gallery is not None
    assert data.source is not None
    has_cameras = data.source.has_cameras
    measured = system.evaluator.measure(
        params, state, SOURCE, query, gallery, has_cameras=has_cameras
    )
    return float(measured.metrics.mAP)


def described(system: System, state: TrainState, feed: Feed, domain: str) -> dict[str, np.ndarray]:
    """Returns what a refresh reads of a training split: what `Method.describe` gives, and cameras.

    The source's also has identities.
    """
    features = extract(
        system.functions.describe(domain),
        state.params,
        state.state,
        feed,
        batch=system.evaluator.batch,
        mesh=system.evaluator.mesh,
        description=f'features of {domain}',
    )
    features = {**features, 'camera': feed.index.camera}
    return features | ({'identity': feed.index.identity} if domain == SOURCE else {})


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
    statistics = data.test.statistics(domain) if data.test else domain
    return predictions.rows(
        system.functions,
        system.problem.attribute_names,
        lambda: data.test_splits(domain),
        params,
        state,
        statistics,
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
    """Returns the features that figures show: of the training splits and the test split, if any.

    Args:
      domain: whose batch-norm statistics target images are embedded with.
      distances: of a system that compares pairs, where they are at hand; else they are computed.
    """
    own_of = {SOURCE: SOURCE, TARGET: domain}
    splits = {name: (feed, own_of[name]) for name, feed in data.training.items()}
    test = data.test
    if test is not None:
        own = test.statistics(domain)
        splits |= {'query': (test.query, own), 'gallery': (test.gallery, own)}
    drawn = {
        name: system.evaluator.features(
            params, state, own, feed, description='features for figures'
        )
        for name, (feed, own) in splits.items()
    }
    if system.method.score is not None and test is not None:
        if distances is None:
            distances = system.evaluator.pair_distances(
                params, state, test.statistics(domain), test.query, test.gallery
            )
        drawn['distances'] = distances
    return drawn
