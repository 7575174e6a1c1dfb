"""A memory of one vector per cluster: its loss, its updates, and clusters that fit it.

Source: Dai et al. 2021 (Cluster-Contrast), and its authors' program.
"""

import logging

import jax
import jax.numpy as jnp
import numpy as np

from jreid.losses import cross_entropy
from jreid.losses.distances import unit
from jreid.methods.contract import Array, Batch, Context, Outputs, State, Term

log = logging.getLogger('jreid')


def most_clusters(images: int, least: int) -> int:
    """Returns the static size of the memory: clusters of `least` images that the images can form.

    DBSCAN can make smaller ones, of a core image whose neighbours are border images of others; so
    few that `fitted` has hardly ever one to leave out.
    """
    return max(images // least, 1)


def memory_of(vectors: np.ndarray, places: int) -> dict[str, Array]:
    """Returns `State.memory`: the vectors [n, D] in the first of `places` places, and which count.

    Its size does not depend on n, so that a step compiles once.
    """
    padded = np.pad(vectors, ((0, places - len(vectors)), (0, 0)))
    valid = jnp.arange(places) < len(vectors)
    return {'vectors': jnp.asarray(padded, jnp.float32), 'valid': valid}


def info_nce(temperature: float) -> Term:
    """Returns -log softmax(f . memory / temperature) of an image's own cluster, the mean."""

    def contrast(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        feature, memory = outputs['target']['feature'], state.memory
        logits = feature @ memory['vectors'].T / temperature
        return cross_entropy(logits, batch['target']['label'], valid=memory['valid'])

    return contrast


def moved_by_all(vectors: Array, features: Array, labels: Array, *, momentum: float) -> Array:
    """Returns the memory after every image in turn moved its cluster's vector.

    v <- unit(momentum v + (1 - momentum) f), in the order of the batch. Clusters do not touch each
    other, so the n-th images of all clusters are taken at once.

    Args:
      vectors: [C, D].
      features: [B, D], of unit length.
      labels: int [B]; below 0 for none.
    """
    same = (labels[:, None] == labels) & (labels >= 0)
    turn = jnp.sum(jnp.tril(same, -1), axis=1)

    def move(number: Array, now: Array) -> Array:
        return _moved(now, features, labels, turn == number, momentum)

    return jax.lax.fori_loop(0, jnp.max(turn) + 1, move, vectors)


def moved_by_hardest(vectors: Array, features: Array, labels: Array, *, momentum: float) -> Array:
    """Returns the memory after each cluster's vector was moved by its least similar image.

    Of equally similar images the first counts. Arguments as for `moved_by_all`.
    """
    similar = jnp.sum(features * vectors[jnp.maximum(labels, 0)], axis=1)
    row = jnp.arange(len(labels))
    # Column j is harder than row i.
    harder = (similar < similar[:, None]) | ((similar == similar[:, None]) & (row < row[:, None]))
    hardest = ~jnp.any((labels[:, None] == labels) & harder, axis=1)
    return _moved(vectors, features, labels, hardest, momentum)


def _moved(vectors: Array, features: Array, labels: Array, chosen: Array, momentum: float) -> Array:
    """Moves the vectors of the chosen images, at most one per cluster."""
    new = unit(momentum * vectors[jnp.maximum(labels, 0)] + (1 - momentum) * features)
    place = jnp.where(chosen & (labels >= 0), labels, len(vectors))
    return vectors.at[place].set(new, mode='drop')


def fitted(labels: np.ndarray, most: int) -> np.ndarray:
    """Returns labels dense from 0, int32 [N]; -1 for noise and for clusters that do not fit.

    Args:
      labels: [N]; below 0 for noise.
      most: clusters that are kept, the largest ones.
    """
    names, number, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(names >= 0)
    if len(kept) > most:
        log.warning(
            '%d clusters for %d places of the memory: the smallest are noise', len(kept), most
        )
        kept = np.sort(kept[np.argsort(-sizes[kept], kind='stable')[:most]])
    place = np.full(len(names), -1, np.int32)
    place[kept] = np.arange(len(kept))
    return place[number]
