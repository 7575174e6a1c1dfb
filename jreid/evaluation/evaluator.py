"""Measures a model on a test split: by the distances of its features or by its pair scores."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jreid.engine.feeds import Feed
from jreid.engine.functions import Functions
from jreid.evaluation.features import extract
from jreid.evaluation.kinds import MODEL, RERANKED
from jreid.evaluation.pairs import pair_distances
from jreid.methods.contract import Params, State
from jreid.retrieval import (
    Metrics,
    SingleShot,
    Verification,
    evaluate,
    evaluate_distances,
    evaluate_reranked,
    single_shot_cmc,
    single_shot_cmc_distances,
    unit,
    verification,
    verification_distances,
)
from jreid.retrieval.metrics import AveragePrecision

SINGLE_SHOT = ('', 'exact', 'repeats')


@dataclasses.dataclass(frozen=True)
class Measured:
    """What `Evaluator.measure` gives.

    Attributes:
      metrics: CMC, mAP and mINP.
      single_shot: CMC with one random gallery image per identity, where it is asked for.
      reranked: the metrics after k-reciprocal re-ranking, where they are asked for.
      distances: [q, g], of a system that compares pairs.
      verification: of all pairs of a query and a gallery image, where it is asked for.
    """

    metrics: Metrics
    single_shot: SingleShot | None = None
    reranked: Metrics | None = None
    distances: np.ndarray | None = None
    verification: Verification | None = None

    def row(self) -> dict[str, Any]:
        """Returns plain numbers, a row of the summary."""
        row = as_row(self.metrics)
        if self.single_shot is not None:
            ranks = {
                f'rank{k}': round(100 * self.single_shot.rank(k), 4) for k in self.single_shot.ranks
            }
            row['single_shot'] = {**ranks, 'repeats': self.single_shot.repeats}
        if self.verification is not None:
            compares = 'features' if self.distances is None else 'pairs'
            row['verification'] = {'compares': compares, **verification_row(self.verification)}
        return row

    def rows(self, name: str, *, kind: str = MODEL) -> dict[str, dict[str, Any]]:
        """Returns the rows of the summary: the model's and, where asked for, the re-ranked one's.

        Args:
          name: of the model's row.
          kind: of the model's row, see `jreid.evaluation.kinds`.
        """
        rows = {name: {'kind': kind, **self.row()}}
        if self.reranked is not None:
            rows[f'{name}_reranked'] = {'kind': RERANKED, **as_row(self.reranked)}
        return rows


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """How a system's test images are compared.

    The fields from `batch` on are those of `config.evaluation`, which has the defaults.

    Attributes:
      functions: the system's jitted functions.
      mesh: the devices.
      seed: of the draws of single-shot galleries.
      batch: images per batch.
      pairs: pairs of images that are compared at a time, of systems that compare pairs.
      average_precision: 'rank' or 'trapezoid'.
      single_shot: '' for none, 'exact' for the expectation over single-shot galleries, 'repeats'
        for seeded draws.
      single_shot_repeats: random galleries per query.
      rerank: whether re-ranking may be asked for.
      rerank_k1, rerank_k2, rerank_lambda: of re-ranking.
    """

    functions: Functions
    mesh: Mesh
    seed: int
    batch: int
    pairs: int
    average_precision: AveragePrecision
    single_shot: str
    single_shot_repeats: int
    rerank: bool
    rerank_k1: int
    rerank_k2: int
    rerank_lambda: float

    def __post_init__(self) -> None:
        if self.single_shot not in SINGLE_SHOT:
            raise ValueError(
                f"evaluation.single_shot is '{self.single_shot}'; expected"
                f' {", ".join(map(repr, SINGLE_SHOT))}'
            )
        method = self.functions.method
        if method.score is not None and self.rerank:
            raise ValueError(
                f'evaluation.rerank re-ranks by features, and {method.name} compares pairs of'
                ' images; set it to False'
            )

    def features(
        self, params: Params, state: State, domain: str, feed: Feed, *, description: str
    ) -> np.ndarray:
        """Returns the features [N, D] of a split's images.

        Args:
          domain: whose batch-norm statistics are used.
          description: of the progress bar.
        """
        function = self.functions.embed(domain)
        keywords: dict[str, Any] = {'batch': self.batch, 'mesh': self.mesh}
        return extract(function, params, state, feed, **keywords, description=description)

    def pair_distances(
        self, params: Params, state: State, domain: str, query: Feed, gallery: Feed
    ) -> np.ndarray:
        """Returns the distances [q, g] of a system that compares pairs."""
        return pair_distances(
            self.functions.pairs(domain),
            params,
            state,
            query,
            gallery,
            mesh=self.mesh,
            batch=self.batch,
            pairs=self.pairs,
            mirror=self.functions.mirror,
        )

    def measure(
        self,
        params: Params,
        state: State,
        domain: str,
        query: Feed,
        gallery: Feed,
        *,
        has_cameras: bool,
        rerank: bool = False,
        verify: bool = False,
    ) -> Measured:
        """Measures a test split.

        Args:
          domain: whose batch-norm statistics the images are embedded with.
          has_cameras: whether gallery images of the query's own camera and identity are left out.
          rerank: re-rank as well.
          verify: ask of all pairs, too, whether they show the same person.
        """
        labels = labels_of(query, gallery, has_cameras)
        method = self.functions.method
        if method.score is not None:
            distances = self.pair_distances(params, state, domain, query, gallery)
            return self._of_distances(distances, labels, verify=verify)
        query_features = self.features(params, state, domain, query, description='query features')
        gallery_features = self.features(
            params, state, domain, gallery, description='gallery features'
        )
        both = (query_features, gallery_features)
        return self._of_features(*both, labels, rerank=rerank, verify=verify)

    def _of_distances(self, distances: np.ndarray, labels: tuple, *, verify: bool) -> Measured:
        metrics = evaluate_distances(distances, *labels, average_precision=self.average_precision)
        single = None
        if self.single_shot:
            single = single_shot_cmc_distances(distances, *labels, **self._single_shot())
        verified = None
        if verify and _several_people(labels):
            verified = verification_distances(distances, *labels)
        return Measured(metrics, single, distances=distances, verification=verified)

    def _of_features(
        self, query: np.ndarray, gallery: np.ndarray, labels: tuple, *, rerank: bool, verify: bool
    ) -> Measured:
        normalise = self.functions.method.normalise
        single = None
        if self.single_shot:
            shot = self._single_shot()
            single = single_shot_cmc(query, gallery, *labels, **shot, normalise=normalise)
        if normalise:
            query, gallery = unit(query), unit(gallery)
        metrics = evaluate(query, gallery, *labels, average_precision=self.average_precision)
        reranked = self._reranked(query, gallery, labels) if rerank else None
        verified = None
        if verify and _several_people(labels):
            verified = verification(query, gallery, *labels)
        return Measured(metrics, single, reranked, verification=verified)

    def _reranked(self, query: np.ndarray, gallery: np.ndarray, labels: tuple) -> Metrics:
        return evaluate_reranked(
            query,
            gallery,
            *labels,
            k1=self.rerank_k1,
            k2=self.rerank_k2,
            lambda_value=self.rerank_lambda,
            average_precision=self.average_precision,
        )

    def _single_shot(self) -> dict[str, Any]:
        repeats = self.single_shot_repeats if self.single_shot == 'repeats' else None
        return {'repeats': repeats, 'seed': self.seed}


def _several_people(labels: tuple) -> bool:
    """Returns whether a split has pairs of different people: one person alone has none."""
    identities = np.concatenate(labels[:2])
    return len(np.unique(identities[identities >= 0])) > 1


def as_row(metrics: Metrics) -> dict[str, Any]:
    """Returns a summary's row: mAP and rank-k in percent, the CMC curve in 0..1."""
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


def verification_row(verified: Verification) -> dict[str, Any]:
    """Returns a summary's entry: rates in percent, thresholds and the histogram as they are.

    What cannot be said (NaN), such as a rate that too few pairs can show, is None.
    """
    names = [f'{rate:g}' for rate in verified.rates]

    def plain(values: np.ndarray, digits: int, factor: float = 1) -> list[float | None]:
        rounded = (round(factor * float(value), digits) for value in values)
        return [value if math.isfinite(value) else None for value in rounded]

    return {
        'tpr': dict(zip(names, plain(verified.tpr, 4, 100), strict=True)),
        'thresholds': dict(zip(names, plain(verified.thresholds, 6), strict=True)),
        'eer': round(100 * verified.eer, 4),
        'eer_threshold': plain(np.asarray([verified.eer_threshold]), 6)[0],
        'auc': round(100 * verified.auc, 4),
        'same': verified.same,
        'different': verified.different,
        'histogram': {
            'edges': plain(verified.edges, 6),
            'same': verified.same_counts.tolist(),
            'different': verified.different_counts.tolist(),
        },
    }


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a row that are drawn over training."""
    return {name: row[name] for name in ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')}


def labels_of(query: Feed, gallery: Feed, has_cameras: bool) -> tuple:
    """Returns identities and cameras as `jreid.retrieval` takes them.

    Cameras are None where the camera rule is off.
    """
    cameras = (query.index.camera, gallery.index.camera) if has_cameras else (None, None)
    return query.index.identity, gallery.index.identity, *cameras
