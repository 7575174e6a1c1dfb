"""Ready-made streams and the plans that choose their images.

A plan is a function (index, labels, steps, rng) -> rows, see `jreid.methods.contract.Plan`; a
system may bring one of its own. The functions here return a `Stream` with a plan in it.
"""

import logging
from typing import Any

import numpy as np

from jreid.data import samplers
from jreid.methods.contract import Plan, Stream

log = logging.getLogger('jreid')


def plain(domain: str, batch: int, **fields: Any) -> Stream:
    """Shows each image once per epoch, in random order.

    Args:
      fields: further fields of `Stream`.
    """

    def plan(index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        del labels
        return samplers.fit_plan(
            lambda: samplers.plain_plan(len(index), batch=batch, rng=rng), steps
        )

    return Stream(domain, plan, batch, **fields)


def pxk(domain: str, identities_per_batch: int, images_per_identity: int, **fields: Any) -> Stream:
    """Draws P identities with K images each."""

    def plan(index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        del index
        return samplers.fit_plan(
            lambda: samplers.pxk_plan(
                labels,
                identities_per_batch=identities_per_batch,
                images_per_identity=images_per_identity,
                rng=rng,
            ),
            steps,
        )

    return _grouped(domain, plan, identities_per_batch, images_per_identity, fields)


def pseudo(
    domain: str,
    identities_per_batch: int,
    images_per_identity: int,
    *,
    loose: bool = True,
    **fields: Any,
) -> Stream:
    """Draws P pseudo identities with K images each, and images without a pseudo label too.

    The latter come in groups of K whose label in the batch stays -1. They take part in the terms
    that need no label (MMD, KL), not in the identity losses. Where a refresh finds fewer than P
    identities, each batch shows all of them and repeats some.

    Args:
      loose: False to leave out the images without a pseudo label.
    """
    size = images_per_identity

    def plan(index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        del index
        grouped = with_loose_groups(labels, size, rng) if loose else labels
        available = len(np.unique(grouped[grouped >= 0]))
        drawn = min(available, identities_per_batch)
        if available < identities_per_batch:
            # A refresh that finds few clusters must not end a run.
            log.warning(
                '%d pseudo identities for P = %d: batches repeat some',
                available,
                identities_per_batch,
            )
        rows = samplers.fit_plan(
            lambda: samplers.pxk_plan(
                grouped, identities_per_batch=drawn, images_per_identity=size, rng=rng
            ),
            steps,
        )
        return rows[:, np.arange(identities_per_batch * size) % (drawn * size)]

    return _grouped(domain, plan, identities_per_batch, size, fields)


def cross_camera(
    domain: str, identities_per_batch: int, images_per_identity: int, **fields: Any
) -> Stream:
    """Draws P identities with K images each, from other cameras than the first where possible."""

    def plan(index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        available = len(np.unique(labels[labels >= 0]))
        drawn = max(min(available, identities_per_batch), 1)
        rows = samplers.fit_plan(
            lambda: samplers.cross_camera_plan(
                labels,
                _known(index.camera),
                identities_per_batch=drawn,
                images_per_identity=images_per_identity,
                rng=rng,
            ),
            steps,
        )
        width = identities_per_batch * images_per_identity
        return rows[:, np.arange(width) % (drawn * images_per_identity)]

    return _grouped(domain, plan, identities_per_batch, images_per_identity, fields)


def triplets(domain: str, anchors: int, triplets_per_pair: int, **fields: Any) -> Stream:
    """Draws groups (A1, A2, B2, B2, ...): a person from two cameras, others from the second one."""
    group = 2 + triplets_per_pair

    def plan(index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        return samplers.fit_plan(
            lambda: samplers.triplet_plan(
                labels,
                _known(index.camera),
                anchors=anchors,
                triplets_per_pair=triplets_per_pair,
                rng=rng,
            ),
            steps,
        )

    return Stream(domain, plan, anchors * group, group=group, **fields)


def with_loose_groups(
    labels: np.ndarray, images_per_identity: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns labels in which images without one have passing numbers, K images per number."""
    labels = labels.copy()
    loose = np.flatnonzero(labels < 0)
    first = labels.max(initial=0) + 1
    labels[rng.permutation(loose)] = first + np.arange(len(loose)) // images_per_identity
    return labels


def _known(camera: np.ndarray) -> np.ndarray | None:
    return camera if (camera >= 0).any() else None


def _grouped(domain: str, plan: Plan, identities: int, images: int, fields: Any) -> Stream:
    # A triplet loss needs a negative, so a part of a batch holds two identities or more.
    least = 2 if images > 1 else 1
    fields = {'group': images, 'least_groups': least, **fields}
    return Stream(domain, plan, identities * images, **fields)
