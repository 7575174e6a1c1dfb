"""Checks a run before its first step, so that it does not fail after hours, and its scalars after
each step.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from jreid.engine.alike import check_alike
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
    refreshed: Refreshed, params: Tree, state: State, *, images: int, columns: int
) -> None:
    """Checks that a refresh gave labels for all images, and trees like those that it was given.

    Args:
      params, state: what the refresh was given.
      images: target images.
      columns: `Method.label_columns`.

    Raises:
      ValueError: names the leaf that differs, what it is and what it should be.
    """
    labels = np.asarray(refreshed.labels)
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
    check_alike(refreshed.params, params, name='params', source='a refresh')
    check_alike(refreshed.state, state, name='state', source='a refresh')


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
        raise FloatingPointError(
            f'step {number} (phase {phase.name}): {", ".join(wrong)} not finite; the last'
            f' checkpoint is {f"of step {kept[-1] // 10}" if kept else "none"}. In a new --workdir,'
            " lower the learning rate or the term's weight."
        )
