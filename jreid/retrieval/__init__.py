"""Distances in blocks, CMC/mAP/mINP, k-reciprocal re-ranking and protocols."""

from jreid.retrieval.distances import pairwise, unit
from jreid.retrieval.evaluation import evaluate, evaluate_distances
from jreid.retrieval.metrics import Metrics
from jreid.retrieval.neighbours import Neighbours, nearest
from jreid.retrieval.protocols import SingleShot, single_shot_cmc, single_shot_cmc_distances
from jreid.retrieval.ranked import Ranked, top_ranked, top_ranked_distances
from jreid.retrieval.reranking import jaccard, rerank

__all__ = [
    'Metrics',
    'Neighbours',
    'Ranked',
    'SingleShot',
    'evaluate',
    'evaluate_distances',
    'jaccard',
    'nearest',
    'pairwise',
    'rerank',
    'single_shot_cmc',
    'single_shot_cmc_distances',
    'top_ranked',
    'top_ranked_distances',
    'unit',
]
