"""Turns plans into batches: a `Feed` gives the images of a split in the order of a plan."""

import dataclasses
import functools
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jreid.data import Index
from jreid.engine import sharding
from jreid.methods.contract import SOURCE, Stream

READERS = ('auto', 'pack', 'device', 'tf')
"""The choices of `data.loader`."""

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
        """Yields each batch's images, or None where the step gathers them from the pool."""
        return self.images(plan) if self.pool is None else itertools.repeat(None, len(plan))


def fits_device(size: int) -> bool:
    """Returns whether `size` bytes of images may lie on the device.

    At most DEVICE_SHARE of its memory; never on a CPU, whose memory the pack is mapped into.
    """
    # Decided on the host, once per split and before anything is traced. The devices of the default
    # backend are those that `sharding.make_mesh` spreads a pool over.
    statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != 'cpu' else None
    return size <= DEVICE_SHARE * (statistics or {}).get('bytes_limit', 0)


def check_loader(loader: str, bad_files: str) -> None:
    """Checks `data.loader` beside `data.bad_files`.

    Raises:
      ValueError: an unknown loader, one that is not installed, or one that cannot leave bad files
        out.
    """
    if loader not in READERS:
        expected = ' or '.join(map(repr, READERS))
        raise ValueError(f"data.loader is '{loader}'; expected {expected}")
    if loader == 'tf' and importlib.util.find_spec('tensorflow') is None:
        raise ValueError(
            "data.loader='tf' needs TensorFlow, which is not installed (it has no release for every"
            " Python); choose 'auto', 'pack' or 'device'"
        )
    if loader == 'tf' and bad_files == 'skip':
        raise ValueError(
            "data.bad_files='skip' needs data.loader 'auto', 'pack' or 'device', which read every"
            " image before training; 'tf' reads them as they come"
        )


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
      ValueError: as `check_loader`.
    """
    check_loader(loader, bad_files)

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
    """Returns the steps in which a stream shows about every image once, the same in every epoch."""
    return max(images // stream.batch, 1)


def plan(
    stream: Stream, index: Index, labels: np.ndarray, *, steps: int, seed: Sequence[int]
) -> np.ndarray:
    """Returns the rows of every step of an epoch, int32 [steps, batch].

    Args:
      labels: the identities of the source or the pseudo labels of the target, [N] or [N, L].
      seed: what the draws depend on, e.g. (run's seed, phase, stream, epoch).

    Raises:
      ValueError: the stream's plan has another shape, or rows that the split does not have.
    """
    rng = np.random.default_rng(tuple(seed))
    rows = np.asarray(stream.plan(index, first_column(labels), steps, rng), np.int32)
    if rows.shape != (steps, stream.batch):
        raise ValueError(
            f'a plan has the shape {rows.shape}; expected {steps} steps of {stream.batch} images'
        )
    if rows.min() < 0 or rows.max() >= len(index):
        raise ValueError(
            f'a plan has rows {rows.min()} to {rows.max()}; the split has {len(index):,} images'
        )
    return rows


def pools(streams: Mapping[str, Stream], feeds: Mapping[str, Feed]) -> dict[str, Any]:
    """Returns stream -> all images of its split, where these lie on the device."""
    held = {name: feeds[stream.domain].pool for name, stream in streams.items()}
    return {name: pool for name, pool in held.items() if pool is not None}


def epoch_batches(
    streams: Mapping[str, Stream],
    feeds: Mapping[str, Feed],
    labels: Mapping[str, np.ndarray],
    mesh: Mesh,
    *,
    steps: int,
    begin: int,
    seed: tuple[int, int, int],
) -> Iterator[dict[str, Any]]:
    """Yields the batches of an epoch, spread over the devices.

    Args:
      feeds: domain -> its training images.
      labels: domain -> what its streams sample by.
      steps: steps in the epoch.
      begin: the step to go on from.
      seed: (run's seed, phase, epoch), of which each stream makes a seed of its own.
    """
    plans, images = {}, {}
    for i, (name, stream) in enumerate(streams.items()):
        feed = feeds[stream.domain]
        # A tuple, never a sum: sums of several numbers repeat. Its length stays the same, since
        # NumPy takes missing numbers at its end for zeros.
        own = (seed[0], seed[1], i, seed[2])
        rows = plan(stream, feed.index, labels[stream.domain], steps=steps, seed=own)
        plans[name] = rows[begin:, sharding.local_columns(mesh, stream.batch)]
        images[name] = feed.for_steps(plans[name])
    for i in range(steps - begin):
        batch = {}
        for name, stream in streams.items():
            feed, read = feeds[stream.domain], next(images[name])
            batch[name] = part(stream, feed, labels[stream.domain], plans[name][i], read)
        yield sharding.spread(mesh, batch)


def first_labels(index: Index, columns: int) -> np.ndarray:
    """Returns the target's labels before the first refresh, int32 [images] or [images, columns].

    They are those of its index: -1 everywhere, or its own where `data.target_labels` lets training
    read them.
    """
    if columns == 1:
        return index.identity.copy()
    return np.repeat(index.identity[:, None], columns, axis=1)


def first_column(labels: np.ndarray) -> np.ndarray:
    """Returns the labels that samplers and figures go by: the first of several per image."""
    return labels if labels.ndim == 1 else labels[:, 0]


def part(
    stream: Stream, feed: Feed, labels: np.ndarray, rows: np.ndarray, images: Any
) -> dict[str, Any]:
    """Returns one stream's share of a batch, see `jreid.methods.contract.Batch`.

    Args:
      images: uint8 [B, H, W, 3]; None where the step gathers them (`Feed.pool`).
    """
    name = 'identity' if stream.domain == SOURCE else 'label'
    values = {name: labels[rows], 'camera': feed.index.camera[rows], 'row': rows}
    if images is not None:
        values['image'] = images
    if feed.index.attributes is not None:
        values['attributes'] = feed.index.attributes[rows]
    if stream.masks:
        values['mask'] = feed.masks()[rows]
    return values
