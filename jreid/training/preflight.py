"""Checks a run before its first step, so that it does not fail after hours, and its scalars after
each step.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jreid.engine.feeds import Feed, first_column
from jreid.methods.contract import SOURCE, Method, Phase, Refreshed, State, Tree


def check_phases(method: Method, feeds: Mapping[str, Feed], *, parts: int, devices: int) -> None:
    """Checks that every phase's batches can be drawn, spread over devices and computed in parts.

    Args:
      feeds: domain -> its training images.
      parts: `config.train.accumulate`.

    Raises:
      ValueError: the source cannot fill a batch, or a batch does not divide; names the phase and
        the stream.
    """
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
            groups, least = stream.batch // stream.group, stream.least_groups
            if parts > 1 and (groups % parts or groups // parts < least):
                raise ValueError(
                    f'{where}: {groups} groups of {stream.group} images (P identities of K,'
                    f' say) do not divide into {parts} parts (train.accumulate) of {least} or more;'
                    f' choose a multiple of {parts}, at least {least * parts}'
                )


def check_refreshed(refreshed: Refreshed, params: Tree, state: State, *, images: int) -> None:
    """Checks that a refresh gave labels for all images, and trees like those that it was given.

    Args:
      params, state: what the refresh was given.
      images: target images.

    Raises:
      ValueError: names the leaf that differs, what it is and what it should be.
    """
    labels = np.asarray(refreshed.labels)
    if labels.shape[:1] != (images,) or labels.dtype.kind not in 'iu':
        raise ValueError(
            f'a refresh gave labels {labels.dtype} {labels.shape}; expected integers, one row for'
            f' each of {images:,} target images'
        )
    check_alike(refreshed.params, params, name='params', source='a refresh')
    check_alike(refreshed.state, state, name='state', source='a refresh')


def check_alike(tree: Tree, template: Tree, *, name: str, source: str) -> None:
    """Checks that a tree has the template's structure, shapes and types.

    Args:
      name: what the tree is, for the error.
      source: who made it, for the error.

    Raises:
      ValueError: names the first leaf that differs.
    """

    def leaves(of: Tree) -> dict[str, str]:
        flat = jax.tree_util.tree_flatten_with_path(of)[0]
        named = {}
        for path, leaf in flat:
            key = jax.tree_util.keystr(path, simple=True, separator='/')
            array = leaf if hasattr(leaf, 'dtype') else np.asarray(leaf)
            named[f'{name}/{key}'] = f'{array.dtype} {tuple(array.shape)}'
        return named

    own, expected = leaves(tree), leaves(template)
    differing = [key for key in {**expected, **own} if own.get(key) != expected.get(key)]
    if differing:
        key = differing[0]
        raise ValueError(
            f'{source} gave {key} as {own.get(key, "nothing")}; expected'
            f' {expected.get(key, "nothing")}'
            f'{f" (and {len(differing) - 1} more leaves differ)" if len(differing) > 1 else ""}:'
            ' keep the shapes that Method.init gave'
        )


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
