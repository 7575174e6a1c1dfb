"""The generated set: pedestrians of three domains, kept in the user's cache.

Its layout is that of Market-1501.
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
    """Reads the set from the cache, after generating it there on first use.

    Args:
      root: a tree that `python -m jreid.synthetic` wrote; None for the cache.
      domain: 'plaza', 'campus' or 'station'.
      age: see `jreid.data.datasets.attributes.read`.
      masks: name the part masks of 8 classes in `mask_path`.
      **sizes: passed on to `jreid.synthetic.cached_tree`.

    Raises:
      ValueError: an option that there is not, or that a tree in `root` cannot have.
    """
    if root is None:
        from jreid.synthetic import cached_tree
        from jreid.synthetic.plan import TreeParameters

        known = {field.name for field in dataclasses.fields(TreeParameters)}
        if unknown := sorted(set(sizes) - known - {'workers', 'progress'}):
            raise ValueError(
                f'synthetic has no option {", ".join(map(repr, unknown))}; it has: age, masks,'
                f' {", ".join(sorted(known))}, workers, progress'
            )
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
