"""What would stop a run after hours, found before its first step."""

from collections.abc import Mapping

import numpy as np

from jreid.engine.feeds import Feed
from jreid.methods.contract import SOURCE, Method


def check_phases(method: Method, feeds: Mapping[str, Feed], *, parts: int, devices: int) -> None:
    """Whether every phase's batches can be drawn, spread over the devices and computed in parts.

    Args:
      feeds: domain -> its training images.
      parts: `config.train.accumulate`.

    Raises:
      ValueError: more identities a batch than the source has, or a batch that does not divide;
        names the phase and the stream.
    """
    for phase in method.phases:
        for name, stream in phase.streams.items():
            where = f"phase '{phase.name}', stream '{name}'"
            groups = stream.batch // stream.instances
            if stream.sampler == 'pxk' and stream.domain == SOURCE:
                labels = feeds[SOURCE].index.identity
                known = len(np.unique(labels[labels >= 0]))
                if groups > known:
                    raise ValueError(
                        f'{where}: a batch of P = {groups} identities cannot be drawn from the'
                        f' {known} of the source; lower P'
                    )
            if stream.batch % (parts * devices):
                raise ValueError(
                    f'{where}: a batch of {stream.batch} images does not divide into {parts} parts'
                    f' (train.accumulate) over {devices} devices; choose a multiple of'
                    f' {parts * devices}'
                )
            # a negative is of another identity
            least = 2 if stream.sampler in ('pxk', 'pseudo') and stream.instances > 1 else 1
            if parts > 1 and (groups % parts or groups // parts < least):
                raise ValueError(
                    f'{where}: {groups} groups of {stream.instances} images (P identities of K,'
                    f' say) do not divide into {parts} parts (train.accumulate) of {least} or more;'
                    f' choose a multiple of {parts}, at least {least * parts}'
                )
