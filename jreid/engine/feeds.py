"""The data of a run: both sets opened, the target without its labels, and loaders from plans to
batches.
"""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jreid.data import Index, samplers
from jreid.engine import sharding
from jreid.methods.contract import Stream

log = logging.getLogger('jreid')


DEVICE_SHARE = 0.15
"""Of a device's memory, the most that one split's images may take with data.loader='auto': there
are two training and two test splits.
"""


@dataclasses.dataclass(frozen=True)
class Feed:
    """A split that can be read.

    Attributes:
      index: its images, without those that were left out as unreadable.
      images: (plan [steps, B]) -> iterator of uint8 images [B, H, W, 3], on the host or on the
        device.
      masks: () -> uint8 [N, H, W], the part masks, made on the first call.
      pool: all its images, uint8 [N, H, W, 3], on every device, where the training step gathers its
        batches from them; else None.
    """

    index: Index
    images: Callable[[np.ndarray], Iterator[Any]]
    masks: Callable[[], np.ndarray]
    pool: Any = None

    def for_steps(self, plan: np.ndarray) -> Iterator[Any]:
        """What the training step gets of each batch's images: themselves, or None where it
        gathers them from the pool.
        """
        return self.images(plan) if self.pool is None else itertools.repeat(None, len(plan))


def fits_device(size: int) -> bool:
    """Whether `size` bytes of images may lie on the device: at most DEVICE_SHARE of its memory;
    never on a CPU, whose memory the pack is mapped into.
    """
    statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != 'cpu' else None
    return size <= DEVICE_SHARE * (statistics or {}).get('bytes_limit', 0)


def feeder(
    *, size: tuple[int, int], loader: str, bad_files: str, pack_folder: str | None
) -> Callable[[Index, str], Feed]:
    """Makes a function (index, description) -> Feed for images of one size.

    Args:
      size: height and width in pixels.
      loader: 'auto', 'pack', 'device' or 'tf', see `data.loader`.
      bad_files: 'error' or 'skip', see `data.bad_files`.
      pack_folder: where packs are kept; None for the user's cache folder.

    Raises:
      ValueError: an unknown loader, or one that cannot leave bad files out.
    """
    if loader not in ('auto', 'pack', 'device', 'tf'):
        raise ValueError(f"data.loader is '{loader}'; expected 'auto', 'pack', 'device' or 'tf'")
    if loader == 'tf' and bad_files == 'skip':
        raise ValueError(
            "data.bad_files='skip' needs data.loader 'auto', 'pack' or 'device', which read every"
            " image before training; 'tf' reads them as they come"
        )

    def masks_of(index: Index, name: str) -> Callable[[], np.ndarray]:
        from jreid.data import pack

        return functools.cache(
            lambda: pack.open_masks(index, size, folder=pack_folder, description=f'masks of {name}')
        )

    def from_files(index: Index, name: str) -> Feed:
        from jreid.data import pipeline

        return Feed(
            index,
            lambda plan: (b['image'] for b in pipeline.batches(index, plan, size=size)),
            masks_of(index, name),
        )

    def from_pack(index: Index, name: str) -> Feed:
        from jreid.data import pack

        packed, kept = pack.open_pack(
            index,
            size,
            folder=pack_folder,
            bad_files=bad_files,
            description=name,
        )
        if loader == 'pack' or (loader == 'auto' and not fits_device(packed.images.nbytes)):
            return Feed(
                kept,
                lambda plan: (b['image'] for b in packed.batches(kept, plan)),
                masks_of(kept, name),
            )
        pool = sharding.replicate(sharding.make_mesh(), packed.images)
        # what this process computes alone must not wait for the others
        own = pool.addressable_data(0)
        take = jax.jit(lambda images, rows: images[rows])
        return Feed(
            kept, lambda plan: (take(own, rows) for rows in plan), masks_of(kept, name), pool
        )

    return from_files if loader == 'tf' else from_pack


def epoch_steps(stream: Stream, images: int) -> int:
    """Steps in which a stream shows about every image once; constant over epochs, so that
    schedules know their length.
    """
    return max(images // stream.batch, 1)


def plan(
    stream: Stream, index: Index, labels: np.ndarray, *, steps: int, seed: int, epoch: int
) -> np.ndarray:
    """The rows of every step of an epoch, int32 [steps, batch], from (seed, epoch) alone.

    Args:
      labels: identities the stream's sampler groups by: the source's own, or the target's pseudo
        labels, [N] or [N, L].
    """
    labels = sampled_by(labels)
    groups = stream.batch // stream.instances
    rng = np.random.default_rng((seed, epoch))
    if stream.sampler == 'plain':
        return samplers.fit_plan(
            lambda: samplers.plain_plan(len(index), batch=stream.batch, rng=rng), steps
        )
    if stream.sampler == 'triplets':
        camera = index.camera if (index.camera >= 0).any() else None
        negatives = stream.instances - 2
        return samplers.fit_plan(
            lambda: samplers.triplet_plan(
                labels, camera, anchors=groups, triplets_per_pair=negatives, rng=rng
            ),
            steps,
        )
    if stream.sampler == 'pseudo':
        labels = _with_loose_groups(labels, stream.instances, seed, epoch)
        found = len(np.unique(labels))
        if found < groups:
            # A refresh that finds few clusters must not end a run: each batch then shows all of
            # them, some twice.
            log.warning('%d pseudo identities for P = %d: batches repeat some', found, groups)
            few = dataclasses.replace(stream, batch=found * stream.instances)
            return plan(few, index, labels, steps=steps, seed=seed, epoch=epoch)[
                :, np.arange(stream.batch) % few.batch
            ]
    elif stream.sampler != 'pxk':
        raise ValueError(
            f"sampler '{stream.sampler}' is not known; expected 'pxk', 'plain', 'pseudo' or"
            " 'triplets'"
        )
    return samplers.fit_plan(
        lambda: samplers.pxk_plan(
            labels, identities_per_batch=groups, images_per_identity=stream.instances, rng=rng
        ),
        steps,
    )


def first_labels(index: Index, columns: int) -> np.ndarray:
    """The target's labels before the first refresh, int32 [images], or [images, columns] for
    several an image.

    They are those of its index: -1 everywhere, or its own where `data.target_labels` lets training
    read them.
    """
    return (
        index.identity.copy()
        if columns == 1
        else np.repeat(index.identity[:, None], columns, axis=1)
    )


def sampled_by(labels: np.ndarray) -> np.ndarray:
    """The labels that samplers and figures go by: the first of several an image."""
    return labels if labels.ndim == 1 else labels[:, 0]


def _with_loose_groups(labels: np.ndarray, K: int, seed: int, epoch: int) -> np.ndarray:
    """Give images without a pseudo label passing numbers, K to a group, so that they too come into
    batches.

    Their label in the batch stays -1: they take part in what needs no label (MMD, KL), not in the
    identity losses.
    """
    labels = labels.copy()
    loose = np.flatnonzero(labels < 0)
    order = np.random.default_rng([seed, epoch, 1]).permutation(len(loose))
    labels[loose[order]] = labels.max(initial=0) + 1 + np.arange(len(loose)) // K
    return labels


def part(
    stream: Stream, feed: Feed, labels: np.ndarray, rows: np.ndarray, images: Any
) -> dict[str, Any]:
    """One stream's share of a batch; without `image` where `images` is None, since the step
    gathers them (`Feed.pool`).
    """
    values = {'identity': sampled_by(labels)[rows], 'camera': feed.index.camera[rows], 'row': rows}
    if images is not None:
        values['image'] = images
    if labels.ndim > 1:
        values['identities'] = labels[rows]
    if feed.index.attributes is not None:
        values['attributes'] = feed.index.attributes[rows]
    if stream.masks:
        values['mask'] = feed.masks()[rows]
    return values
