"""Opens both data sets of a run, the target without its labels."""

import dataclasses
import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jreid.data import Index, Splits, load, teacher_labels
from jreid.data.datasets import LOADERS
from jreid.engine.feeds import Feed, feeder
from jreid.methods.contract import SOURCE, TARGET, Problem
from jreid.methods.settings.values import nearest
from jreid.retrieval.relevance import relevance
from jreid.run.places import NO_SOURCE

log = logging.getLogger('jreid')


@dataclasses.dataclass(frozen=True)
class Test:
    """The test split that a run's rows are measured on.

    Attributes:
      role: 'target'; or 'source' where the target has no query and gallery.
      splits: the set that it is of.
      query, gallery: its images.
    """

    role: str
    splits: Splits
    query: Feed
    gallery: Feed

    def statistics(self, domain: str) -> str:
        """Returns whose batch-norm statistics its images are embedded with: the source's own, or
        `domain`'s, with which the target is embedded.
        """
        return SOURCE if self.role == SOURCE else domain


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
      source, target: both sets with their labels; the target's are for evaluation only. The source
        is None in an unsupervised run.
      source_train, target_train: training images; the target's have no labels unless
        `data.target_labels` is set. The source's are None where there is no source.
      test: what the rows are measured on, the target's test split where it has one; None where
        neither set has one.
      source_query, source_gallery: the source's test split, where checkpoints are chosen by it.
      source_test: opens the source's test split.
    """

    source: Splits | None
    target: Splits
    source_train: Feed | None
    target_train: Feed
    test: Test | None
    source_query: Feed | None
    source_gallery: Feed | None
    source_test: Callable[[], tuple[Feed, Feed]]

    @property
    def training(self) -> dict[str, Feed]:
        """Returns domain -> its training images."""
        source = {} if self.source_train is None else {SOURCE: self.source_train}
        return {**source, TARGET: self.target_train}

    def labels(self, pseudo: np.ndarray) -> dict[str, np.ndarray]:
        """Returns domain -> what its streams sample by, of the target the pseudo labels."""
        known = {domain: feed.index.identity for domain, feed in self.training.items()}
        return {**known, TARGET: pseudo}

    def test_splits(self, domain: str) -> dict[str, Sequence[Feed]]:
        """Returns role -> (query, gallery) of the test splits to measure predictions on.

        The target's where it has one, and with the source's own statistics the source's.
        """
        feeds: dict[str, Sequence[Feed]] = {}
        if self.test is not None:
            feeds[self.test.role] = (self.test.query, self.test.gallery)
        if domain == SOURCE and self.source is not None and len(self.source.query):
            feeds.setdefault(SOURCE, self.source_test())
        return feeds

    def problem(self, size: tuple[int, int], *, given_identities: bool) -> Problem:
        """Returns the sizes that a method is built for.

        Args:
          size: height and width in pixels.
          given_identities: whether the variant is given the true number of target identities.
        """
        trained = {domain: feed.index for domain, feed in self.training.items()}
        source = trained.get(SOURCE)
        return Problem(
            image_size=size,
            source_identities=0 if self.source is None else self.source.train.identities,
            source_images=0 if source is None else len(source),
            target_images=len(trained[TARGET]),
            attribute_names=() if source is None else source.attribute_names,
            target_attribute_names=trained[TARGET].attribute_names,
            mask_domains=tuple(
                domain for domain, index in trained.items() if index.mask_path is not None
            ),
            target_identities=self.target.train.identities if given_identities else None,
            target_labelled=bool((trained[TARGET].identity >= 0).any()),
        )


def open_data(settings: Mapping[str, Any], *, select_on_source: bool) -> Data:
    """Opens both sets of `config.data`, with their loaders.

    Args:
      settings: `config.data`.
      select_on_source: whether the source's test split is needed, for choosing the best checkpoint.

    Raises:
      ValueError: a set or a setting that cannot be used; among them a test split in which no query
        has a match.
      BadImageError: images that cannot be read.
    """
    source, target = _source(settings, select_on_source=select_on_source), _load(settings, TARGET)
    sets = ([] if source is None else [(SOURCE, source)]) + [(TARGET, target)]
    for role, splits in sets:
        log.info('%s: %s', role, splits.summary())
    if select_on_source and source is not None and not len(source.query):
        raise ValueError(
            f"evaluation.select='best' chooses on the source's test split, and {source.name} has"
            " none; use 'last'"
        )
    role = next((role for role, one in reversed(sets) if len(one.query)), '')
    for own, one in sets:
        if own == role or (own == SOURCE and select_on_source):
            check_matches(one)
    if role != TARGET:
        log.warning('%s', _left_out(source, target))
    if settings['target_labels']:
        if not target.train.identities:
            raise ValueError(
                f'data.target_labels is True, but none of the {len(target.train):,} training images'
                f' of the target {target.name} has an identity; give them, or set it to False'
            )
        log.info(
            "supervised: training reads the labels of the target's %d training images",
            len(target.train),
        )
    shown = target.train if settings['target_labels'] else target.train.without_labels()
    feed = _feeder(settings)

    @functools.cache
    def source_test() -> tuple[Feed, Feed]:
        assert source is not None
        return feed(source.query, 'source query'), feed(source.gallery, 'source gallery')

    source_train = None
    if source is not None:
        labelled = teacher_labels.added(source.train, settings['source_teacher'])
        source_train = feed(labelled, 'source train')
    # Unless the target's labels are asked for, nothing in training can read one from here on; what
    # a teacher said of its images is added.
    target_train = feed(teacher_labels.added(shown, settings['target_teacher']), 'target train')
    chosen_on = source_test() if select_on_source else (None, None)
    test = None
    if role == TARGET:
        query, gallery = (
            feed(target.query, 'target query'),
            feed(target.gallery, 'target gallery'),
        )
        test = Test(role, target, query, gallery)
    elif source is not None and role == SOURCE:
        test = Test(role, source, *source_test())
    return Data(
        source=source,
        target=target,
        source_train=source_train,
        target_train=target_train,
        test=test,
        source_query=chosen_on[0],
        source_gallery=chosen_on[1],
        source_test=source_test,
    )


def _source(settings: Mapping[str, Any], *, select_on_source: bool) -> Splits | None:
    """Reads the source of `config.data`; None where it is 'none', which is said.

    Raises:
      ValueError: there is no source for what is asked of it.
    """
    if settings[SOURCE] != NO_SOURCE:
        return _load(settings, SOURCE)
    if select_on_source:
        raise ValueError(
            "evaluation.select='best' chooses on the source's test split, and data.source is"
            f" '{NO_SOURCE}'; use 'last'"
        )
    if settings['source_teacher']:
        raise ValueError(
            f"data.source_teacher is '{settings['source_teacher']}', and data.source is"
            f" '{NO_SOURCE}': there is no image to label; leave it empty"
        )
    log.info(
        "no source (data.source='%s'): the training is unsupervised; left out: training on a"
        " source, the rows of the source alone and of AdaBN, and the source's points in figures",
        NO_SOURCE,
    )
    return None


def check_matches(splits: Splits) -> None:
    """Checks that a test split can be evaluated: that queries have matches in the gallery.

    Sets without identities, which are for teachers, are skipped.

    Raises:
      ValueError: no query has a match.
    """
    query, gallery = splits.query, splits.gallery
    if not query.identities:
        return
    cameras = (query.camera, gallery.camera) if splits.has_cameras else (None, None)
    lacking = int((relevance(query.identity, gallery.identity, *cameras).matches == 0).sum())
    where = "of another camera than the query's" if splits.has_cameras else 'in the gallery'
    if lacking == len(query):
        seen = len(np.union1d(query.camera, gallery.camera))
        rule = (
            f"; its test split has {seen} camera{'s'[: seen != 1]}, and images of the query's own"
            ' camera are left out'
            if splits.has_cameras
            else ''
        )
        hint = (
            '. Where the cameras do not matter, leave them out (of the CSV, say): the rule is'
            ' then off'
            if splits.has_cameras
            else ''
        )
        raise ValueError(
            f'{splits.name} cannot be evaluated: none of {len(query):,} queries has an image of the'
            f' same identity {where}{rule}{hint}'
        )
    if lacking:
        log.warning(
            '%s: %d of %d queries have no image of the same identity %s; they are excluded from all'
            ' metrics',
            splits.name,
            lacking,
            len(query),
            where,
        )


def _left_out(source: Splits | None, target: Splits) -> str:
    """Says what a run without a query and gallery of the target leaves out."""
    lines = [f'{target.name} has no query and gallery: how well people are found in it is unknown']
    if source is None:
        lines.append('there is no source either, so there are no rows')
    elif len(source.query):
        lines.append(
            f"the rows are measured on the source's test split ({source.name},"
            f' {len(source.query):,} queries) and show whether accuracy on the source is kept'
        )
    else:
        lines.append(f'{source.name} has none either, so there are no rows')
    lines.append(
        'left out: the row of AdaBN, true numbers of identities, and how well pseudo labels agree'
        ' with them; written besides: labels/ and features.npz of the target'
    )
    return '; '.join(lines)


def _options(settings: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Returns the options of a set's loader.

    Loaders that know them also get `data.bad_files` and, where they write images, `pack_folder`.
    """
    options = dict(settings[f'{role}_options'])
    loader = LOADERS.get(settings[role])
    known = inspect.signature(loader).parameters if loader else ()
    for name in ('bad_files', 'pack_folder'):
        if name in known:
            options.setdefault(name, settings[name] or None)
    return options


def open_test(settings: Mapping[str, Any], role: str) -> tuple[Splits, Feed, Feed]:
    """Opens the test split of a set of `config.data`, for use with a trained model.

    Args:
      role: 'source' or 'target'.

    Raises:
      ValueError: the set has no query images.
    """
    if settings[role] == NO_SOURCE:
        raise ValueError(f"data.{role} is '{NO_SOURCE}': there is no {role} to evaluate on")
    splits = _load(settings, role)
    if not len(splits.query):
        other = '; --on=source measures the source' if role == TARGET else ''
        raise ValueError(f'the {role} {splits.name} has no query images to evaluate on{other}')
    check_matches(splits)
    feed = _feeder(settings)
    return splits, feed(splits.query, f'{role} query'), feed(splits.gallery, f'{role} gallery')


def open_measured(settings: Mapping[str, Any]) -> Test | None:
    """Opens the test split that the rows of a run are measured on; None where there is none."""
    for role in (TARGET, SOURCE):
        if settings[role] == NO_SOURCE:
            continue
        splits = _load(settings, role)
        if len(splits.query):
            check_matches(splits)
            feed = _feeder(settings)
            query, gallery = feed(splits.query, 'query'), feed(splits.gallery, 'gallery')
            return Test(role, splits, query, gallery)
    return None


def _load(settings: Mapping[str, Any], role: str) -> Splits:
    """Reads a set of `config.data`; errors also name the fields that chose it."""
    root, known = _root(settings, role), [NO_SOURCE, *LOADERS]
    if role == SOURCE and settings[role] not in known:
        raise ValueError(
            f'unknown data set data.source={settings[role]!r}{nearest(settings[role], known)};'
            f" '{NO_SOURCE}' trains without a source; known: {', '.join(known)}"
        )
    try:
        return load(settings[role], root, **_options(settings, role))
    except (FileNotFoundError, ValueError) as error:
        field = f'{role}_root' if settings[f'{role}_root'] else 'root'
        message = f'{error}\n  asked for by data.{role}={settings[role]!r}'
        if root is not None:
            message += f', data.{field}={root!r}'
        if options := dict(settings[f'{role}_options']):
            message += (
                f', data.{role}_options={options} (--config.data.{role}_options={{}} clears them)'
            )
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(message) from error


def _root(settings: Mapping[str, Any], role: str) -> str | None:
    """Returns where a set lies; the synthetic set makes its own tree unless a root is named."""
    return settings[f'{role}_root'] or (None if settings[role] == 'synthetic' else settings['root'])


def _feeder(settings: Mapping[str, Any]) -> Callable[[Index, str], Feed]:
    return feeder(
        size=(settings['height'], settings['width']),
        loader=settings['loader'],
        bad_files=settings['bad_files'],
        pack_folder=settings['pack_folder'] or None,
    )
