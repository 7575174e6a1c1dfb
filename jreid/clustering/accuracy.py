"""Accuracy of a clustering under the best one-to-one match of clusters to identities."""

import numpy as np
from jaxtyping import Array, Int
from scipy.sparse import coo_matrix, eye, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching


def cluster_accuracy(
    true: Int[Array | np.ndarray, ' n'], predicted: Int[Array | np.ndarray, ' n']
) -> float:
    """max over one-to-one matches g of clusters to identities of mean(true_i = g(predicted_i)), in
    [0, 1].

    The numbers of clusters and of identities may differ: a cluster or an identity without a partner
    counts as wrong. The match is found on the sparse table of counts, so memory follows the
    samples, not identities x clusters.

    Raises:
      ValueError: no samples, or unequal lengths.

    Reference: Kuhn 1955; DMTNet (Wang and Hu 2020), Eq. 11.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.shape != predicted.shape or not true.size:
        raise ValueError(
            f'{true.size} true and {predicted.size} predicted labels; expected as many of each, and'
            ' at least one'
        )
    identity, cluster = (
        np.unique(true, return_inverse=True)[1],
        np.unique(predicted, return_inverse=True)[1],
    )
    counts = coo_matrix((np.ones(len(true)), (identity, cluster))).tocsr()
    counts.sum_duplicates()
    # A sparse match must cover every identity, so each has a private column that stands for "no
    # cluster"; costs must not be 0.
    ceiling = counts.data.max() + 1
    cost = counts.copy()
    cost.data = ceiling - cost.data
    rows, columns = min_weight_full_bipartite_matching(
        hstack([cost, ceiling * eye(counts.shape[0])], format='csr')
    )
    matched = columns < counts.shape[1]
    return float(counts[rows[matched], columns[matched]].sum() / len(true))
