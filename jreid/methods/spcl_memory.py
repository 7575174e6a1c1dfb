"""SpCL's hybrid memory: its loss and its update, its batches, and which clusters are reliable."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jreid.data import samplers
from jreid.losses.distances import unit
from jreid.methods.common import grouping
from jreid.methods.contract import TARGET, Array, Stream


def hybrid_contrast(
    features: Array,
    own: Array,
    bank: Array,
    label: Array,
    *,
    temperature: float,
    later: Array | None = None,
) -> Array:
    """Computes the unified contrastive loss of Eq. 1, a scalar.

    A sample's loss is -log(p + e), p = exp(z_own) / (sum over classes of exp(z_c) + e). z_c is the
    mean of <f, bank entry> / temperature over the entries of class c. e = 1e-6, as in the authors'
    program, bounds the loss at 13.8.

    Args:
      features: [B, D], of unit length.
      own: int [B], the classes of the samples.
      bank: [L, D].
      label: int [L], the class of each entry, in 0..L-1; a class may be empty.
      later: [L, D], the bank that the gradient is taken with; None for `bank`.
    """
    entries, epsilon = len(bank), 1e-6
    similarity = _products(bank, features) / temperature
    if later is not None:
        moved = _products(later, features) / temperature
        similarity = moved + jax.lax.stop_gradient(similarity - moved)
    count = jax.ops.segment_sum(jnp.ones(entries), label, entries)[:, None]
    mean = jax.ops.segment_sum(similarity, label, entries) / jnp.maximum(count, 1)
    total = jax.nn.logsumexp(mean, axis=0, where=count > 0)
    chosen = mean[own, jnp.arange(len(own))]
    probability = jnp.exp(chosen - jnp.logaddexp(total, jnp.log(epsilon)))
    return -jnp.mean(jnp.log(probability + epsilon))


def _products(bank: Array, features: Array) -> Array:
    return jnp.matmul(bank, features.T, precision=jax.lax.Precision.HIGHEST)


def move(bank: Array, features: Array, entries: Array, *, momentum: float) -> Array:
    """Moves entries of the bank towards features, one after the other (Eq. 2 and 3).

    An entry becomes momentum entry + (1 - momentum) feature, at unit length.
    """

    def one(i: Array, bank: Array) -> Array:
        moved = momentum * bank[entries[i]] + (1 - momentum) * features[i]
        return bank.at[entries[i]].set(unit(moved))

    return jax.lax.fori_loop(0, len(entries), one, bank)


def hybrid(identities: int, images: int) -> Stream:
    """Draws clusters with K images each, and un-clustered images one by one, in random order.

    An un-clustered image has a place of its own in an epoch, as in the authors' program, so a batch
    is not divided into groups.
    """
    batch = identities * images

    def plan(index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        camera = index.camera if (index.camera >= 0).any() else None

        def one_pass() -> np.ndarray:
            groups = list(np.flatnonzero(labels < 0)[:, None])
            if (labels >= 0).any():
                groups += list(
                    samplers.cross_camera_plan(
                        labels, camera, identities_per_batch=1, images_per_identity=images, rng=rng
                    )
                )
            rows = np.concatenate([groups[i] for i in rng.permutation(len(groups))])
            if len(rows) < batch:
                rows = np.resize(rows, batch)
            return rows[: len(rows) // batch * batch].reshape(-1, batch).astype(np.int32)

        return samplers.fit_plan(one_pass, steps)

    return Stream(TARGET, plan, batch)


def self_paced(
    labels: np.ndarray, tight: np.ndarray, loose: np.ndarray, limit: float, *, share: float
) -> tuple[np.ndarray, float]:
    """Keeps the clusters that are independent, and of these the images that are compact (Eq. 5, 6).

    An image's compactness is the overlap (intersection over union) of its cluster with its cluster
    under the tighter radius, its independence the one with that under the looser radius. A cluster
    has the independence of its best image, and must reach the limit. Of its images those stay whose
    compactness is that of its best.

    Args:
      labels, tight, loose: int [N] of the three radii, -1 for noise.
      limit: the greatest lack of independence (1 - overlap) of a cluster, of the first epoch; below
        0 to take it from these clusters.
      share: of the first epoch's clusters that are within the limit.

    Returns:
      labels int32 [N], -1 where an image is not clustered, and the limit.
    """
    own = grouping.alone(labels)
    lack, dependence = (
        np.float32(1) - overlap(own, grouping.alone(other)) for other in (tight, loose)
    )
    least_lack, least = (np.full(own.max() + 1, np.inf, np.float32) for _ in range(2))
    np.minimum.at(least_lack, own, lack)
    np.minimum.at(least, own, dependence)
    clusters = np.sort(least[np.bincount(own) > 1])
    if limit < 0 and len(clusters):
        limit = float(clusters[min(len(clusters) - 1, int(np.round(len(clusters) * share)))])
    kept = (least[own] <= np.float32(limit)) & (lack <= least_lack[own])
    return grouping.without_single(np.where(kept, labels, -1)), limit


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of each sample's clusters, float32 [N]."""
    _, pair, common = np.unique(
        a.astype(np.int64) * (b.max() + 1) + b, return_inverse=True, return_counts=True
    )
    shared = common[pair]
    either = np.bincount(a)[a] + np.bincount(b)[b] - shared
    return shared.astype(np.float32) / either.astype(np.float32)
