"""A model's numbers on a test split: by the distances of its features, or of pairs where it
compares those.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jreid.engine import steps
from jreid.engine.feeds import Feed
from jreid.evaluation.features import extract
from jreid.evaluation.pairs import PairSteps, pair_distances, pair_steps
from jreid.methods.contract import Method, Tree
from jreid.retrieval import (
    Metrics,
    SingleShot,
    evaluate,
    evaluate_distances,
    single_shot_cmc,
    single_shot_cmc_distances,
    unit,
)
from jreid.retrieval import rerank as reranked_distances
from jreid.retrieval.metrics import AveragePrecision

SINGLE_SHOT = ('', 'exact', 'repeats')


@dataclasses.dataclass(frozen=True)
class Measured:
    """What `Ranker.measure` gives.

    Attributes:
      metrics: CMC, mAP and mINP.
      single_shot: CMC with one random gallery image an identity, where the config asks for it.
      reranked: the metrics after k-reciprocal re-ranking, where asked for.
      distances: [q, g], of a system that compares pairs.
    """

    metrics: Metrics
    single_shot: SingleShot | None = None
    reranked: Metrics | None = None
    distances: np.ndarray | None = None

    def row(self) -> dict[str, Any]:
        """Plain numbers of a summary's row."""
        row = as_row(self.metrics)
        if self.single_shot is not None:
            ranks = {
                f'rank{k}': round(100 * self.single_shot.rank(k), 4) for k in self.single_shot.ranks
            }
            row['single_shot'] = {**ranks, 'repeats': self.single_shot.repeats}
        return row


@dataclasses.dataclass(frozen=True)
class Ranker:
    """How a system's test images are compared.

    Attributes:
      method: the system.
      preparation: of its images.
      settings: `config.evaluation`.
      mesh: the devices.
      seed: of the draws of single-shot galleries.
      compiled: functions of pairs made so far, by domain.
    """

    method: Method
    preparation: steps.Preparation
    settings: Mapping[str, Any]
    mesh: Mesh
    seed: int
    compiled: dict[str, PairSteps] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.settings['single_shot'] not in SINGLE_SHOT:
            raise ValueError(
                f"evaluation.single_shot is '{self.settings['single_shot']}'; expected"
                f' {", ".join(map(repr, SINGLE_SHOT))}'
            )
        if self.method.score is not None and self.settings['rerank']:
            raise ValueError(
                f'evaluation.rerank re-ranks by features, and {self.method.name} compares pairs of'
                ' images; set it to False'
            )

    def features(self, variables: Tree, domain: str, feed: Feed, *, description: str) -> np.ndarray:
        """Features [N, D] of a split's images, averaged with the mirror images' where the config
        says so.
        """
        step = steps.embed_step(
            self.method, self.preparation, domain, mirror=self.settings['mirror']
        )
        return extract(
            step,
            variables,
            feed,
            batch=self.settings['batch'],
            mesh=self.mesh,
            description=description,
        )

    def pair_distances(
        self, variables: Tree, domain: str, query: Feed, gallery: Feed
    ) -> np.ndarray:
        """Distances [q, g] of a system that compares pairs."""
        settings = {name: self.settings[name] for name in ('batch', 'pairs', 'mirror')}
        compiled = self.compiled.setdefault(
            domain, pair_steps(self.method, self.preparation, domain, mirror=settings['mirror'])
        )
        return pair_distances(compiled, variables, query, gallery, mesh=self.mesh, **settings)

    def measure(
        self,
        variables: Tree,
        domain: str,
        query: Feed,
        gallery: Feed,
        *,
        has_cameras: bool,
        rerank: bool = False,
    ) -> Measured:
        """The numbers of a test split.

        Args:
          domain: whose batch-norm statistics the images are embedded with.
          has_cameras: whether gallery images of the query's own camera and identity are left out.
          rerank: re-rank as well.
        """
        labels = labels_of(query, gallery, has_cameras)
        average_precision, repeats = (
            self.settings['average_precision'],
            self.settings['single_shot_repeats'],
        )
        shot: dict[str, Any] = {
            'repeats': repeats if self.settings['single_shot'] == 'repeats' else None,
            'seed': self.seed,
        }
        if self.method.score is not None:
            distances = self.pair_distances(variables, domain, query, gallery)
            single = (
                single_shot_cmc_distances(distances, *labels, **shot)
                if self.settings['single_shot']
                else None
            )
            return Measured(
                evaluate_distances(distances, *labels, average_precision=average_precision),
                single,
                distances=distances,
            )
        features = (
            self.features(variables, domain, query, description='query features'),
            self.features(variables, domain, gallery, description='gallery features'),
        )
        options: dict[str, Any] = {
            'normalise': self.method.normalise,
            'average_precision': average_precision,
            'has_cameras': has_cameras,
        }
        k: dict[str, Any] = {
            'k1': self.settings['rerank_k1'],
            'k2': self.settings['rerank_k2'],
            'lambda_value': self.settings['rerank_lambda'],
        }
        return Measured(
            metrics_of(features[0], features[1], query, gallery, **options),
            (
                single_shot_cmc(*features, *labels, **shot, normalise=self.method.normalise)
                if self.settings['single_shot']
                else None
            ),
            reranked(features[0], features[1], query, gallery, **options, **k) if rerank else None,
        )


def metrics_of(
    query: np.ndarray,
    gallery: np.ndarray,
    query_feed: Feed,
    gallery_feed: Feed,
    *,
    normalise: bool,
    average_precision: AveragePrecision,
    has_cameras: bool,
) -> Metrics:
    """CMC, mAP and mINP of features; Euclidean distance, after L2 normalisation where the method
    says so.
    """
    if normalise:
        query, gallery = unit(query), unit(gallery)
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
        query, gallery = unit(query), unit(gallery)
    distances = reranked_distances(query, gallery, k1=k1, k2=k2, lambda_value=lambda_value)
    return evaluate_distances(
        distances,
        *labels_of(query_feed, gallery_feed, has_cameras),
        average_precision=average_precision,
    )


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


def labels_of(query: Feed, gallery: Feed, has_cameras: bool) -> tuple:
    """Identities and cameras as the retrieval room takes them; cameras None where the camera
    rule is off.
    """
    cameras = (query.index.camera, gallery.index.camera) if has_cameras else (None, None)
    return query.index.identity, gallery.index.identity, *cameras
