"""The generated set: pedestrians of three domains, written once to the user's cache in
Market-1501's layout.
"""

import dataclasses
import os

from jreid.data.datasets import market1501, market_layout
from jreid.data.index import Splits


def load(
    root: str | os.PathLike | None = None,
    *,
    domain: str = 'plaza',
    age: str = 'binary',
    masks: bool = True,
    **sizes,
) -> Splits:
    """Generates the set, or finds it in the cache, and reads it.

    Args:
      root: a tree that `python -m jreid.synthetic` wrote; None for the cache.
      domain: 'plaza', 'campus' or 'station'.
      age: see `jreid.data.datasets.attributes.read`.
      masks: name the part masks of 8 classes in `mask_path`.
      **sizes: handed to `jreid.synthetic.cached_tree`.
    """
    if root is None:
        from jreid.synthetic import cached_tree

        root = cached_tree(domain, **sizes)
    elif sizes:
        raise ValueError(
            f'{", ".join(map(repr, sorted(sizes)))} cannot change the tree in {root}; leave root'
            ' out to generate one'
        )
    layout = dataclasses.replace(
        market1501.LAYOUT,
        name=f'synthetic-{domain}',
        title='the synthetic set',
        folder_names=(domain,),
        counts=None,
        cameras=None,
    )
    return market_layout.load(
        layout, root, attributes=None, age=age, expected=False, bad_files='error', masks=masks
    )
