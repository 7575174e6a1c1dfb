"""DBSCAN on a sparse neighbour graph, by connected components."""

from numbers import Real

import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import coo_matrix, csr_matrix, sparray, spmatrix
from scipy.sparse.csgraph import connected_components

from jreid.clustering.checks import as_array


def dbscan(
    neighbours: Int[Array | np.ndarray, 'n k'] | spmatrix | sparray,
    distances: Float[Array | np.ndarray, 'n k'] | None = None,
    *,
    eps: float | int | np.floating,
    min_samples: int,
) -> Int[np.ndarray, ' n']:
    """Clusters samples by density; labels are 0, 1, ... by first core sample, -1 for noise.

    A sample with at least `min_samples` samples within `eps`, including itself, is a core sample.
    Core samples within eps of each other share a cluster. Any other sample within eps of a core
    sample joins the lowest-numbered such cluster. The remaining samples are noise. Memory follows
    the stored edges, never n x n.

    Args:
      neighbours: indices of near samples, row i for sample i, -1 where there are fewer. Or a sparse
        n x n matrix of distances, without `distances`: stored zeros are distances of 0, and pairs
        that are not stored are farther than eps.
      distances: distances to `neighbours`. An edge stored from one side counts from both. If it is
        stored twice, the smaller distance counts.
      eps: greatest distance between neighbours, inclusive.

    Raises:
      ValueError: neighbours without distances or of another shape, indices out of range, a distance
        below 0 or NaN, eps <= 0 or min_samples < 1.

    Reference: Ester et al. 1996.
    """
    far = isinstance(eps, Real) and 0 < eps < np.inf
    whole = isinstance(min_samples, int | np.integer)
    if not far or not whole or min_samples < 1:
        raise ValueError(
            f'eps is {eps!r} and min_samples {min_samples}; expected eps > 0 and min_samples >= 1,'
            ' a whole number'
        )
    row, column, distance, n = _edges(neighbours, distances)
    if distance.dtype.kind not in 'fiu':
        raise ValueError(f'distances are {distance.dtype}; expected real numbers')
    if not (distance >= 0).all():
        raise ValueError(
            f'{(~(distance >= 0)).sum()} of {len(distance)} distances are negative or nan; expected'
            ' distances from 0 on'
        )
    near = (distance <= eps) & (row != column)
    # Of booleans an edge that is stored several times stays one; numbers add up, and overflow.
    graph = csr_matrix((np.ones(near.sum(), bool), (row[near], column[near])), shape=(n, n))
    graph = (graph + graph.T).tocsr()
    core = np.diff(graph.indptr) + 1 >= min_samples
    labels = np.full(n, -1, np.int64)
    cores = np.flatnonzero(core)
    if not len(cores):
        return labels
    component = connected_components(graph[cores][:, cores], directed=False)[1]
    # Components are numbered by their first core sample.
    first = np.unique(component, return_index=True)[1]
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    labels[cores] = number[component]
    edges = coo_matrix(graph)
    border = ~core[edges.row] & core[edges.col]
    lowest = np.full(n, n)
    np.minimum.at(lowest, edges.row[border], labels[edges.col[border]])
    return np.where(lowest < n, lowest, labels)


def _edges(
    neighbours: Array | np.ndarray | spmatrix | sparray, distances: Array | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Returns rows, columns and distances of the stored edges, and the number of samples."""
    if isinstance(neighbours, (spmatrix, sparray)):
        if distances is not None or neighbours.shape[0] != neighbours.shape[1]:
            raise ValueError(
                f'a sparse matrix of shape {neighbours.shape}; expected n x n distances, and no'
                ' second argument beside it'
            )
        edges = coo_matrix(neighbours)
        return edges.row, edges.col, edges.data, neighbours.shape[0]
    neighbours = as_array('neighbours', neighbours, 'whole numbers [n, k]')
    if neighbours.ndim != 2 or neighbours.dtype.kind not in 'iu':
        raise ValueError(
            f'neighbours are {neighbours.dtype} {neighbours.shape}; expected whole numbers [n, k],'
            ' row i for sample i'
        )
    far = as_array('distances', distances, 'one distance for every neighbour')
    if distances is None or far.shape != neighbours.shape:
        have = 'no distances' if distances is None else f'distances of shape {far.shape}'
        raise ValueError(
            f'{have} for neighbours of shape {neighbours.shape}; expected one distance for every'
            ' neighbour'
        )
    n, width = neighbours.shape
    if neighbours.size and not (neighbours.min() >= -1 and neighbours.max() < n):
        raise ValueError(
            f'neighbours from {neighbours.min()} to {neighbours.max()}; expected indices below {n},'
            ' or -1 where there is none'
        )
    stored = (neighbours >= 0).ravel()
    row = np.repeat(np.arange(n), width)
    return row[stored], neighbours.ravel()[stored], far.ravel()[stored], n
