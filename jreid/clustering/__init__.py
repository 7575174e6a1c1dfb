"""Clustering of features: k-means with and without given labels, DBSCAN, silhouette, cluster accuracy, and the number of identities."""

from jreid.clustering.accuracy import cluster_accuracy
from jreid.clustering.dbscan import dbscan
from jreid.clustering.lloyd import KMeans, constrained_kmeans, kmeans
from jreid.clustering.silhouette import silhouette

__all__ = ['KMeans', 'cluster_accuracy', 'constrained_kmeans', 'dbscan', 'kmeans', 'silhouette']
