"""Checks a run before its first step, so that it does not fail after hours, and its scalars after
each step.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jreid.engine import returns
from jreid.engine.alike import check_alike, leaves
from jreid.engine.feeds import Feed, first_column
from jreid.methods.contract import SOURCE, Method, Phase, Refreshed, State, Tree

log = logging.getLogger('jreid')


def check_phases(
    method: Method, feeds: Mapping[str, Feed], parts: int = 1, devices: int = 1, groups: int = 1
) -> None:
    """Checks that every phase's batches can be drawn, spread over devices and computed in parts.

    Args:
      feeds: domain -> its training images.
      parts: `config.train.accumulate`.
      groups: `config.train.batch_norm_groups`.

    Raises:
      ValueError: the source cannot fill a batch, or a batch does not divide; names the phase and
        the stream.
    """
    if groups > 1 and groups % parts:
        raise ValueError(
            f'train.batch_norm_groups is {groups}, which {parts} parts (train.accumulate) do not'
            ' divide; every part needs as many'
        )
    for phase in method.phases:
        if not phase.streams or not phase.terms:
            raise ValueError(f"phase '{phase.name}' has no stream or no term; expected one or more")
        if phase.refresh_every and (method.refresh is None or method.describe is None):
            raise ValueError(
                f"phase '{phase.name}' refreshes every {phase.refresh_every} epochs, and"
                f" '{method.name}' has no refresh or describe function"
            )
        for name, stream in phase.streams.items():
            where = f"phase '{phase.name}', stream '{name}'"
            if stream.domain == SOURCE:
                index = feeds[SOURCE].index
                try:
                    rng = np.random.default_rng(0)
                    stream.plan(index, first_column(index.identity), 1, rng)
                except ValueError as error:
                    raise ValueError(f'{where}: {error}') from error
            if stream.batch % (parts * devices):
                raise ValueError(
                    f'{where}: a batch of {stream.batch} images does not divide into {parts} parts'
                    f' (train.accumulate) over {devices} devices; choose a multiple of'
                    f' {parts * devices}'
                )
            if stream.batch % groups:
                raise ValueError(
                    f'{where}: a batch of {stream.batch} images does not divide into {groups}'
                    ' groups of batch normalisation (train.batch_norm_groups)'
                )
            if groups > 1 and stream.group > 1 and stream.batch // groups < 2 * stream.group:
                log.warning(
                    '%s: each of the %d groups of batch normalisation (train.batch_norm_groups) has'
                    ' %d images, of one identity where K is %d: what tells identities apart is'
                    ' normalised away; expected %d or more',
                    where,
                    groups,
                    stream.batch // groups,
                    stream.group,
                    2 * stream.group,
                )
            units, least = stream.batch // stream.group, stream.least_groups
            if parts > 1 and (units % parts or units // parts < least):
                raise ValueError(
                    f'{where}: {units} groups of {stream.group} images (P identities of K,'
                    f' say) do not divide into {parts} parts (train.accumulate) of {least} or more;'
                    f' choose a multiple of {parts}, at least {least * parts}'
                )


def check_refreshed(
    refreshed: Refreshed,
    params: Tree,
    state: State,
    *,
    images: int,
    columns: int,
    source_identities: int = 0,
) -> None:
    """Checks that a refresh gave labels for all images, and trees like those that it was given.

    Args:
      params, state: what the refresh was given.
      images: target images.
      columns: `Method.label_columns`.
      source_identities: classes that labels may count before the target's; 0 without a source.

    Raises:
      ValueError: it is no `Refreshed`, labels are of another shape or range, or a leaf is not like
        the one that was given, or not finite; names what it is and what it should be.
    """
    if not isinstance(refreshed, Refreshed):
        raise ValueError(
            f'Method.refresh returned {returns.kind(refreshed)}; expected a Refreshed(labels,'
            ' params, state, report)'
        )
    returns.check_state(refreshed.state, function='Refreshed.state of a refresh', moves='memory')
    labels = np.asarray(refreshed.labels)
    _check_labels(labels, images=images, columns=columns, classes=source_identities + images)
    trees = ((refreshed.params, params, 'params'), (refreshed.state, state, 'state'))
    for tree, template, name in trees:
        check_alike(tree, template, name=name, source='a refresh')
        _check_finite_leaves(tree, template, name=name)


def _check_labels(labels: np.ndarray, *, images: int, columns: int, classes: int) -> None:
    if labels.shape[:1] != (images,) or labels.dtype.kind not in 'iu':
        raise ValueError(
            f'a refresh gave labels {labels.dtype} {labels.shape}; expected integers, one row for'
            f' each of {images:,} target images'
        )
    # [N, 1] is refused beside [N]: terms and batches read one label per image as [B].
    shape = (images,) if columns == 1 else (images, columns)
    if labels.shape != shape:
        raise ValueError(
            f'a refresh gave labels of shape {labels.shape}; expected {shape}, as'
            f' Method.label_columns is {columns}'
        )
    if images and not -1 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f'a refresh gave labels from {labels.min()} to {labels.max()}; expected -1 for an image'
            f' without one, else 0 to {classes - 1:,} at most ({images:,} target images and'
            f' {classes - images:,} source identities): number clusters from 0'
        )


def _check_finite_leaves(tree: Tree, template: Tree, *, name: str) -> None:
    """Checks the leaves that a refresh replaced; one that began without a number may stay so."""
    before = leaves(template, name)
    for place, leaf in leaves(tree, name).items():
        # Most leaves are those that were given, and are not read again.
        if leaf is before[place] or _finite(leaf) or not _finite(before[place]):
            continue
        values = np.asarray(leaf, np.float32)
        raise ValueError(
            f'a refresh gave {place} {values.shape} with {int((~np.isfinite(values)).sum()):,}'
            ' values that are not finite; expected numbers: a mean over no image gives NaN, so'
            ' leave places without a cluster at 0'
        )


def _finite(leaf: Any) -> bool:
    x = np.asarray(leaf)
    if not jnp.issubdtype(x.dtype, jnp.floating) or not x.size:
        return True
    # Two passes, and no array as large as a bank.
    with np.errstate(invalid='ignore'):
        return bool(np.isfinite(x.min()) and np.isfinite(x.max()))


def check_finite(
    values: Mapping[str, float], number: int, phase: Phase, kept: Sequence[int]
) -> None:
    """Checks the scalars of a step.

    Args:
      number: of the step.
      kept: numbers of the checkpoints, ten times their steps.

    Raises:
      FloatingPointError: one is not finite; names the step, the terms and the last checkpoint.
    """
    wrong = [name for name, value in values.items() if not np.isfinite(value)]
    if wrong:
        # JAX reads NaN beyond the end of an array.
        labels = (
            ', and see that no label is beyond the classes of a head or the rows of a bank'
            if phase.refresh_every
            else ''
        )
        raise FloatingPointError(
            f'step {number} (phase {phase.name}): {", ".join(wrong)} not finite; the last'
            f' checkpoint is {f"of step {kept[-1] // 10}" if kept else "none"}. In a new --workdir,'
            f" lower the learning rate or the term's weight{labels}."
        )
