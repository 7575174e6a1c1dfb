"""Trees in the user's cache: generated on first use, and named by what decides their bytes."""

import hashlib
import json
import os
import pathlib

from jreid.files import cache_folder
from jreid.synthetic.plan import TreeParameters
from jreid.synthetic.tree import describe, write_tree


def cached_tree(
    domain: str,
    *,
    root: str | os.PathLike | None = None,
    workers: int | None = None,
    progress: bool = True,
    **parameters,
) -> pathlib.Path:
    """Returns the folder of a tree, which the first call generates.

    Calls at the same time are safe: each generates its own tree, and the first to finish is kept.

    Args:
      domain: plaza, campus or station.
      root: where trees are kept; None for the folder `synthetic` of the user's cache
        (`$JREID_CACHE` moves it).
      workers: as for `write_tree`.
      progress: as for `write_tree`.
      **parameters: `identities`, `test_identities`, `cameras`, `images_per_camera`, `distractors`,
        `junk`, `size`, `seed`, `strength`, as for `write_tree`.
    """
    described = describe(TreeParameters(domain, **parameters))
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    folder = (
        pathlib.Path(root).expanduser() if root is not None else cache_folder() / 'synthetic'
    ).absolute() / f'{domain}-{digest}'
    if folder.is_dir():
        return folder
    try:
        write_tree(folder, domain, workers=workers, progress=progress, **parameters)
    except OSError:
        if not folder.is_dir():
            raise
    return folder
