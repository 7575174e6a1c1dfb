"""One vector per cluster and camera, and the two losses on them.

Source: Wang et al. 2021 (CAP), arXiv:2012.10674, and its authors' program
(github.com/Terminator8758/CAP-master at 4a04fef).

`State.memory` holds `vectors` [M, D], `valid` bool [M], `cluster` and `camera` int32 [M]. A target
batch has two labels per image, its cluster and its proxy.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jreid.methods.contract import Array, Batch, Context, Outputs, State, Term
from jreid.methods.settings.cluster_contrast import Settings

LOW = -1e9
"""The logit of what a loss does not see."""


class Proxies(NamedTuple):
    """The proxies of a clustering.

    Attributes:
      labels: int32 [N], each image's proxy; -1 for noise.
      cluster, camera: int32 [proxies].
    """

    labels: np.ndarray
    cluster: np.ndarray
    camera: np.ndarray


NOTHING = Proxies(*[np.zeros(0, np.int32)] * 3)
"""No proxy at all."""


def proxies_of(clusters: np.ndarray, cameras: np.ndarray) -> Proxies:
    """Returns a proxy for each camera that images of a cluster are from.

    Args:
      clusters: int [N]; -1 for noise.
      cameras: int [N]; unknown ones, -1, count as one camera.
    """
    pairs = np.stack([clusters, cameras], axis=1)[clusters >= 0]
    names, number = np.unique(pairs, axis=0, return_inverse=True)
    labels = np.full(len(clusters), -1, np.int32)
    labels[clusters >= 0] = number.reshape(-1)
    return Proxies(labels, *names.astype(np.int32).T.reshape(2, -1))


def names_of(proxies: Proxies, places: int) -> dict[str, Array]:
    """Returns the part of `State.memory` that says whose the vectors are, padded with -1."""

    def padded(numbers: np.ndarray) -> Array:
        room = places - len(numbers)
        return jnp.asarray(np.pad(numbers, (0, room), constant_values=-1), jnp.int32)

    return {'cluster': padded(proxies.cluster), 'camera': padded(proxies.camera)}


def terms(settings: Settings) -> dict[str, Term]:
    """Returns the two losses, weighted."""
    s = settings
    across = cross_camera(
        s.temperature, weight=s.proxy_weight, negatives=s.proxy_negatives, begin=s.proxy_begin
    )
    return {'intra_camera': intra_camera(s.temperature), 'cross_camera': across}


def intra_camera(temperature: float) -> Term:
    """Returns InfoNCE of an image among the proxies of its own camera (CAP, Eq. 3)."""

    def term(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        target, memory = batch['target'], state.memory
        logits = outputs['target']['feature'] @ memory['vectors'].T / temperature
        seen = memory['valid'] & (memory['camera'] == target['camera'][:, None])
        proxy = jnp.maximum(target['label'][:, 1], 0)
        own = jnp.take_along_axis(logits, proxy[:, None], axis=1)[:, 0]
        loss = jax.nn.logsumexp(jnp.where(seen, logits, LOW), axis=1) - own
        return _by_camera(loss, target)

    return term


def cross_camera(temperature: float, *, weight: float, negatives: int, begin: float) -> Term:
    """Returns the loss of an image against its cluster's proxies of all cameras (CAP, Eq. 5).

    The softmax is over these and the `negatives` most similar proxies of other clusters; its target
    is uniform over the former.

    Args:
      weight: of the loss.
      begin: the share of the phase before which it is 0.
    """

    def term(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        target, memory = batch['target'], state.memory
        logits = outputs['target']['feature'] @ memory['vectors'].T / temperature
        own = memory['valid'] & (memory['cluster'] == target['label'][:, :1])
        other = jnp.where(memory['valid'] & ~own, logits, LOW)
        hardest, _ = jax.lax.top_k(other, min(negatives, other.shape[1]))
        kept = jnp.concatenate([jnp.where(own, logits, LOW), hardest], axis=1)
        positives = jnp.sum(jnp.where(own, logits, 0), axis=1) / jnp.maximum(
            jnp.sum(own, axis=1), 1
        )
        loss = jax.nn.logsumexp(kept, axis=1) - positives
        begun = context.progress >= begin
        return jnp.where(begun, weight * _by_camera(loss, target), 0.0)

    return term


def _by_camera(loss: Array, target: Mapping[str, Array]) -> Array:
    """Sums the means over the images of each camera of the batch, as the program does."""
    camera, known = target['camera'], target['label'][:, 0] >= 0
    together = (camera[:, None] == camera) & known
    share = known / jnp.maximum(jnp.sum(together, axis=1), 1)
    return jnp.sum(jnp.where(known, loss, 0) * share)
