"""Clustering of features: k-means, DBSCAN, scores, and the number of identities."""

from jreid.clustering.dbscan import dbscan
from jreid.clustering.identities import Curve, Estimate, cluster_target, estimate_identities
from jreid.clustering.lloyd import KMeans, constrained_kmeans, kmeans
from jreid.clustering.scores import cluster_accuracy, silhouette

__all__ = [
    'Curve',
    'Estimate',
    'KMeans',
    'cluster_accuracy',
    'cluster_target',
    'constrained_kmeans',
    'dbscan',
    'estimate_identities',
    'kmeans',
    'silhouette',
]
