"""Reads data sets from the user's own folders; makes sampling plans and batches.

Nothing here imports TensorFlow except `jreid.data.pipeline` and `jreid.data.tfds`.
"""

import difflib
import inspect
import os

from jreid.data.index import Index, Splits

__all__ = ['Index', 'Splits', 'load']


def load(name: str, root: str | os.PathLike | None = None, **options) -> Splits:
    """Reads the file names and annotations of a data set.

    Args:
      name: 'market1501', 'dukemtmc', 'msmt17', 'cuhk03', 'cuhk01', 'viper', 'prid2011', 'grid',
        'ilids', 'ward', 'pku', 'folder', 'synthetic' or 'tfds' (one of these as TensorFlow Datasets
        has prepared it). Sets for teachers, without identities: 'peta', 'rap', 'densepose'.
      root: the folder that holds the set, or the set's folder itself. With None, 'synthetic'
        generates its own.
      **options: the options of the set, see `jreid.data.datasets.<name>.load`.

    Raises:
      ValueError: the set or an option is unknown, or the files are not the set's.
      FileNotFoundError: nothing that looks like the set lies under root.
    """
    from jreid.data.datasets import LOADERS

    if name not in LOADERS:
        near = difflib.get_close_matches(name, LOADERS, n=1, cutoff=0.4)
        hint = f' (did you mean {near[0]!r}?)' if near else ''
        raise ValueError(f'unknown data set {name!r}{hint}; known: {", ".join(LOADERS)}')
    loader = LOADERS[name]
    parameters = inspect.signature(loader).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        hint = f' (did you mean {near[0]!r}?)' if near else ''
        raise ValueError(
            f'{name} has no option {", ".join(map(repr, unknown))}{hint}; it has:'
            f' {", ".join(known)}'
        )
    if root is None and name != 'synthetic':
        raise ValueError(
            f'{name} is read from a folder of yours: give root, the folder that holds it'
        )
    return loader(root, **options)
