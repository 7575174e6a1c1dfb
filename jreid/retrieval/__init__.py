"""Distances in blocks, CMC/mAP/mINP, k-reciprocal re-ranking and protocols."""

from jreid.retrieval.distances import pairwise
from jreid.retrieval.evaluation import evaluate, evaluate_distances
from jreid.retrieval.metrics import Metrics

__all__ = ['Metrics', 'evaluate', 'evaluate_distances', 'pairwise']
