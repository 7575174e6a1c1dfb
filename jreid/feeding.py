"""The data of a run: both sets opened, the target without its labels, and loaders from plans to batches."""

import dataclasses
import functools
import inspect
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jreid import sharding
from jreid.data import Index, Splits, load, samplers, teacher_labels
from jreid.data.datasets import LOADERS
from jreid.methods.contract import SOURCE, TARGET, Problem, Stream
from jreid.retrieval.relevance import relevance

log = logging.getLogger('jreid')

DEVICE_SHARE = 0.15
"""Of a device's memory, the most that one split's images may take with data.loader='auto': there are two training and two test splits."""


@dataclasses.dataclass(frozen=True)
class Feed:
    """A split that can be read.

    Attributes:
      index: its images, without those that were left out as unreadable.
      images: (plan [steps, B]) -> iterator of uint8 images [B, H, W, 3], on the host or on the device.
      masks: () -> uint8 [N, H, W], the part masks, made on the first call.
      pool: all its images, uint8 [N, H, W, 3], on every device, where the training step gathers its batches from them; else None.
    """

    index: Index
    images: Callable[[np.ndarray], Iterator[Any]]
    masks: Callable[[], np.ndarray]
    pool: Any = None

    def for_steps(self, plan: np.ndarray) -> Iterator[Any]:
        """What the training step gets of each batch's images: themselves, or None where it gathers them from the pool."""
        return self.images(plan) if self.pool is None else itertools.repeat(None, len(plan))


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads. `target_train` has lost its labels, unless training is to read them; `target` keeps them, for evaluation only.

    `source_test` opens the source's test split.
    """

    source: Splits
    target: Splits
    source_train: Feed
    target_train: Feed
    target_query: Feed
    target_gallery: Feed
    source_query: Feed | None
    source_gallery: Feed | None
    source_test: Callable[[], tuple[Feed, Feed]]

    def problem(self, size: tuple[int, int], *, given_identities: bool) -> Problem:
        """The sizes that a method is built for; the true number of target identities only where a variant is given it."""
        trained = {SOURCE: self.source_train.index, TARGET: self.target_train.index}
        return Problem(
            image_size=size,
            source_identities=self.source.train.identities,
            source_images=len(trained[SOURCE]),
            target_images=len(trained[TARGET]),
            attribute_names=trained[SOURCE].attribute_names,
            target_attribute_names=trained[TARGET].attribute_names,
            mask_domains=tuple(domain for domain, index in trained.items() if index.mask_path is not None),
            target_identities=self.target.train.identities if given_identities else None,
            target_labelled=bool((trained[TARGET].identity >= 0).any()),
        )


def open_data(settings: Mapping[str, Any], *, select_on_source: bool) -> Data:
    """Both sets of `config.data`, with their loaders.

    Args:
      settings: `config.data`.
      select_on_source: whether the source's test split is needed, for choosing the best checkpoint.

    Raises:
      ValueError: a set or a setting that cannot be used; among them a test split in which no query has a match.
      BadImageError: images that cannot be read.
    """
    source = load(settings['source'], _root(settings, 'source'), **_options(settings, 'source'))
    target = load(settings['target'], _root(settings, 'target'), **_options(settings, 'target'))
    for role, splits in (('source', source), ('target', target)):
        log.info('%s: %s', role, splits.summary())
    if not len(target.query):
        raise ValueError(f'the target {target.name} has no query images to evaluate on')
    if select_on_source and not len(source.query):
        raise ValueError(f"evaluation.select='best' chooses on the source's test split, and {source.name} has none; use 'last'")
    for splits in (target, source) if select_on_source else (target,):
        check_matches(splits)
    if settings['target_labels']:
        log.info("supervised: training reads the labels of the target's %d training images", len(target.train))
    shown = target.train if settings['target_labels'] else target.train.without_labels()
    feed = _feeder(settings)
    source_test = functools.cache(lambda: (feed(source.query, 'source query'), feed(source.gallery, 'source gallery')))
    chosen_on = source_test() if select_on_source else (None, None)
    return Data(
        source=source,
        target=target,
        source_train=feed(teacher_labels.added(source.train, settings['source_teacher']), 'source train'),
        # Unless the target's labels are asked for, nothing in training can read one from here on; what a teacher said of its images is added.
        target_train=feed(teacher_labels.added(shown, settings['target_teacher']), 'target train'),
        target_query=feed(target.query, 'target query'),
        target_gallery=feed(target.gallery, 'target gallery'),
        source_query=chosen_on[0],
        source_gallery=chosen_on[1],
        source_test=source_test,
    )


def check_matches(splits: Splits) -> None:
    """Find out before training whether the test split can be evaluated: how many queries have a match in the gallery.

    Sets without identities, for teachers, are passed over.

    Raises:
      ValueError: no query has one.
    """
    query, gallery = splits.query, splits.gallery
    if not query.identities:
        return
    cameras = (query.camera, gallery.camera) if splits.has_cameras else (None, None)
    lacking = int((relevance(query.identity, gallery.identity, *cameras).matches == 0).sum())
    where = "of another camera than the query's" if splits.has_cameras else 'in the gallery'
    if lacking == len(query):
        seen = len(np.union1d(query.camera, gallery.camera))
        rule = f"; its test split has {seen} camera{'s'[: seen != 1]}, and images of the query's own camera are left out" if splits.has_cameras else ''
        hint = '. Where the cameras do not matter, leave them out (of the CSV, say): the rule is then off' if splits.has_cameras else ''
        raise ValueError(f'{splits.name} cannot be evaluated: none of {len(query):,} queries has an image of the same identity {where}{rule}{hint}')
    if lacking:
        log.warning('%s: %d of %d queries have no image of the same identity %s; they count in no figure', splits.name, lacking, len(query), where)


def _options(settings: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Options of a set's loader; `data.bad_files` is handed to those that know it, unless the options say otherwise."""
    options = dict(settings[f'{role}_options'])
    loader = LOADERS.get(settings[role])
    if loader and 'bad_files' in inspect.signature(loader).parameters:
        options.setdefault('bad_files', settings['bad_files'])
    return options


def fits_device(size: int) -> bool:
    """Whether `size` bytes of images may lie on the device: at most DEVICE_SHARE of its memory; never on a CPU, whose memory the pack is mapped into."""
    statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != 'cpu' else None
    return size <= DEVICE_SHARE * (statistics or {}).get('bytes_limit', 0)


def open_test(settings: Mapping[str, Any], role: str) -> tuple[Splits, Feed, Feed]:
    """A set of `config.data` with its query and gallery images, for looking at a trained model; its training images are not opened.

    Args:
      role: 'source' or 'target'.

    Raises:
      ValueError: the set has no query images.
    """
    splits = load(settings[role], _root(settings, role), **_options(settings, role))
    if not len(splits.query):
        raise ValueError(f'the {role} {splits.name} has no query images to evaluate on')
    check_matches(splits)
    feed = _feeder(settings)
    return splits, feed(splits.query, f'{role} query'), feed(splits.gallery, f'{role} gallery')


def _root(settings: Mapping[str, Any], role: str) -> str | None:
    """Where a set lies; the synthetic set makes its own tree unless a root is named for it."""
    return settings[f'{role}_root'] or (None if settings[role] == 'synthetic' else settings['root'])


def _feeder(settings: Mapping[str, Any]) -> Callable[[Index, str], Feed]:
    size = (settings['height'], settings['width'])
    kind = settings['loader']
    if kind not in ('auto', 'pack', 'device', 'tf'):
        raise ValueError(f"data.loader is '{kind}'; expected 'auto', 'pack', 'device' or 'tf'")

    if kind == 'tf' and settings['bad_files'] == 'skip':
        raise ValueError(
            "data.bad_files='skip' needs data.loader 'auto', 'pack' or 'device', which read every image before training; 'tf' reads them as they come"
        )

    def masks_of(index: Index, name: str) -> Callable[[], np.ndarray]:
        from jreid.data import pack

        return functools.cache(lambda: pack.open_masks(index, size, folder=settings['pack_folder'] or None, description=f'masks of {name}'))

    def from_files(index: Index, name: str) -> Feed:
        from jreid.data import pipeline

        return Feed(index, lambda plan: (b['image'] for b in pipeline.batches(index, plan, size=size)), masks_of(index, name))

    def from_pack(index: Index, name: str) -> Feed:
        from jreid.data import pack

        packed, kept = pack.open_pack(index, size, folder=settings['pack_folder'] or None, bad_files=settings['bad_files'], description=name)
        if kind == 'pack' or (kind == 'auto' and not fits_device(packed.images.nbytes)):
            return Feed(kept, lambda plan: (b['image'] for b in packed.batches(kept, plan)), masks_of(kept, name))
        pool = sharding.replicate(sharding.make_mesh(), packed.images)
        own = pool.addressable_data(0)  # what this process computes alone must not wait for the others
        take = jax.jit(lambda images, rows: images[rows])
        return Feed(kept, lambda plan: (take(own, rows) for rows in plan), masks_of(kept, name), pool)

    return from_files if kind == 'tf' else from_pack


def epoch_steps(stream: Stream, images: int) -> int:
    """Steps in which a stream shows about every image once; constant over epochs, so that schedules know their length."""
    return max(images // stream.batch, 1)


def plan(stream: Stream, index: Index, labels: np.ndarray, *, steps: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of every step of an epoch, int32 [steps, batch], from (seed, epoch) alone.

    Args:
      labels: identities the stream's sampler groups by: the source's own, or the target's pseudo labels, [N] or [N, L].
    """
    labels = sampled_by(labels)
    groups = stream.batch // stream.instances
    if stream.sampler == 'plain':
        return samplers.fit_plan(lambda r: samplers.plain_plan(len(index), batch=stream.batch, seed=seed, epoch=epoch, repeat=r), steps)
    if stream.sampler == 'triplets':
        camera = index.camera if (index.camera >= 0).any() else None
        negatives = stream.instances - 2
        return samplers.fit_plan(
            lambda r: samplers.triplet_plan(labels, camera, anchors=groups, triplets_per_pair=negatives, seed=seed, epoch=epoch, repeat=r), steps
        )
    if stream.sampler == 'pseudo':
        labels = _with_loose_groups(labels, stream.instances, seed, epoch)
        found = len(np.unique(labels))
        if found < groups:
            # A refresh that finds few clusters must not end a run: each batch then shows all of them, some twice.
            log.warning('%d pseudo identities for P = %d: batches repeat some', found, groups)
            few = dataclasses.replace(stream, batch=found * stream.instances)
            return plan(few, index, labels, steps=steps, seed=seed, epoch=epoch)[:, np.arange(stream.batch) % few.batch]
    elif stream.sampler != 'pxk':
        raise ValueError(f"sampler '{stream.sampler}' is not known; expected 'pxk', 'plain', 'pseudo' or 'triplets'")
    return samplers.fit_plan(lambda r: samplers.pxk_plan(labels, P=groups, K=stream.instances, seed=seed, epoch=epoch, repeat=r), steps)


def first_labels(index: Index, columns: int) -> np.ndarray:
    """The target's labels before the first refresh, int32 [images], or [images, columns] for several an image.

    They are those of its index: -1 everywhere, or its own where `data.target_labels` lets training read them.
    """
    return index.identity.copy() if columns == 1 else np.repeat(index.identity[:, None], columns, axis=1)


def sampled_by(labels: np.ndarray) -> np.ndarray:
    """The labels that samplers and figures go by: the first of several an image."""
    return labels if labels.ndim == 1 else labels[:, 0]


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
    """One stream's share of a batch; without `image` where `images` is None, since the step gathers them (`Feed.pool`)."""
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
