"""Distances in blocks, CMC, mAP and mINP, verification, nearest images and re-ranking."""

from jreid.retrieval.distances import pairwise, unit
from jreid.retrieval.metrics import Metrics, evaluate, evaluate_distances, evaluate_reranked
from jreid.retrieval.neighbours import Neighbours, nearest
from jreid.retrieval.reranking import jaccard, rerank
from jreid.retrieval.same_person import Verification, verification, verification_distances
from jreid.retrieval.single_shot import SingleShot, single_shot_cmc, single_shot_cmc_distances
from jreid.retrieval.top_k import Ranked, top_ranked, top_ranked_distances

__all__ = [
    'Metrics',
    'Neighbours',
    'Ranked',
    'SingleShot',
    'Verification',
    'evaluate',
    'evaluate_distances',
    'evaluate_reranked',
    'jaccard',
    'nearest',
    'pairwise',
    'rerank',
    'single_shot_cmc',
    'single_shot_cmc_distances',
    'top_ranked',
    'top_ranked_distances',
    'unit',
    'verification',
    'verification_distances',
]
