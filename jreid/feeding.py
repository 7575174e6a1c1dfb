"""The data of a run: both sets opened, the target without its labels, and loaders from plans to batches."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jreid.data import Index, Splits, load, samplers
from jreid.methods.contract import SOURCE, Problem, Stream

log = logging.getLogger('jreid')


@dataclasses.dataclass(frozen=True)
class Feed:
    """A split that can be read.

    Attributes:
      index: its images, without those that were left out as unreadable.
      images: (plan [steps, B]) -> iterator of uint8 images [B, H, W, 3], on the host or on the device.
    """

    index: Index
    images: Callable[[np.ndarray], Iterator[Any]]


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads. `target_train` has lost its labels; `target` keeps them, for evaluation only."""

    source: Splits
    target: Splits
    source_train: Feed
    target_train: Feed
    target_query: Feed
    target_gallery: Feed
    source_query: Feed | None
    source_gallery: Feed | None

    def problem(self, size: tuple[int, int], *, given_identities: bool) -> Problem:
        """The sizes that a method is built for; the true number of target identities only where a variant is given it."""
        names = self.source.train.attribute_names
        return Problem(
            image_size=size,
            source_identities=self.source.train.identities,
            source_images=len(self.source_train.index),
            target_images=len(self.target_train.index),
            attribute_names=names,
            target_identities=self.target.train.identities if given_identities else None,
        )


def open_data(settings: Mapping[str, Any], *, select_on_source: bool) -> Data:
    """Both sets of `config.data`, with their loaders.

    Args:
      settings: `config.data`.
      select_on_source: whether the source's test split is needed, for choosing the best checkpoint.
    """
    source = load(settings['source'], _root(settings, 'source'), **dict(settings['source_options']))
    target = load(settings['target'], _root(settings, 'target'), **dict(settings['target_options']))
    for role, splits in (('source', source), ('target', target)):
        log.info('%s: %s', role, splits.summary())
    if not len(target.query):
        raise ValueError(f'the target {target.name} has no query images to evaluate on')
    if select_on_source and not len(source.query):
        raise ValueError(f"evaluation.select='best' chooses on the source's test split, and {source.name} has none; use 'last'")
    feed = _feeder(settings)
    return Data(
        source=source,
        target=target,
        source_train=feed(source.train, 'source train'),
        # From here on nothing in training can read a label of the target.
        target_train=feed(target.train.without_labels(), 'target train'),
        target_query=feed(target.query, 'target query'),
        target_gallery=feed(target.gallery, 'target gallery'),
        source_query=feed(source.query, 'source query') if select_on_source else None,
        source_gallery=feed(source.gallery, 'source gallery') if select_on_source else None,
    )


def _root(settings: Mapping[str, Any], role: str) -> str | None:
    """Where a set lies; the synthetic set makes its own tree unless a root is named for it."""
    return settings[f'{role}_root'] or (None if settings[role] == 'synthetic' else settings['root'])


def _feeder(settings: Mapping[str, Any]) -> Callable[[Index, str], Feed]:
    size = (settings['height'], settings['width'])
    kind = settings['loader']
    if kind not in ('pack', 'device', 'tf'):
        raise ValueError(f"data.loader is '{kind}'; expected 'pack', 'device' or 'tf'")

    def from_files(index: Index, name: str) -> Feed:
        from jreid.data import pipeline

        del name
        return Feed(index, lambda plan: (b['image'] for b in pipeline.batches(index, plan, size=size)))

    def from_pack(index: Index, name: str) -> Feed:
        from jreid.data import pack

        packed, kept = pack.open_pack(index, size, folder=settings['pack_folder'] or None, bad_files=settings['bad_files'], description=name)
        if kind == 'pack':
            return Feed(kept, lambda plan: (b['image'] for b in packed.batches(kept, plan)))
        images = jnp.asarray(packed.images)
        take = jax.jit(lambda rows: images[rows])
        return Feed(kept, lambda plan: (take(rows) for rows in plan))

    return from_files if kind == 'tf' else from_pack


def epoch_steps(stream: Stream, images: int) -> int:
    """Steps in which a stream shows about every image once; constant over epochs, so that schedules know their length."""
    return max(images // stream.batch, 1)


def plan(stream: Stream, index: Index, labels: np.ndarray, *, steps: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of every step of an epoch, int32 [steps, batch], from (seed, epoch) alone.

    Args:
      labels: identities the stream's sampler groups by: the source's own, or the target's pseudo labels.
    """
    groups = stream.batch // stream.instances
    if stream.sampler == 'plain':
        return samplers.fit_plan(lambda r: samplers.plain_plan(len(index), batch=stream.batch, seed=seed, epoch=epoch, repeat=r), steps)
    if stream.sampler == 'pseudo':
        labels = _with_loose_groups(labels, stream.instances, seed, epoch)
    elif stream.sampler != 'pxk':
        raise ValueError(f"sampler '{stream.sampler}' is not known; expected 'pxk', 'plain' or 'pseudo'")
    return samplers.fit_plan(lambda r: samplers.pxk_plan(labels, P=groups, K=stream.instances, seed=seed, epoch=epoch, repeat=r), steps)


def _with_loose_groups(labels: np.ndarray, K: int, seed: int, epoch: int) -> np.ndarray:
    """Give images without a pseudo label passing numbers, K to a group, so that they too come into batches.

    Their label in the batch stays -1: they take part in what needs no label (MMD, KL), not in the identity losses.
    """
    labels = labels.copy()
    loose = np.flatnonzero(labels < 0)
    order = np.random.default_rng([seed, epoch, 1]).permutation(len(loose))
    labels[loose[order]] = labels.max(initial=0) + 1 + np.arange(len(loose)) // K
    return labels


def part(stream: Stream, feed: Feed, labels: np.ndarray, rows: np.ndarray, images: Any) -> dict[str, Any]:
    """One stream's share of a batch."""
    values = {'image': images, 'identity': labels[rows], 'camera': feed.index.camera[rows], 'row': rows}
    if stream.domain == SOURCE and feed.index.attributes is not None:
        values['attributes'] = feed.index.attributes[rows]
    return values
