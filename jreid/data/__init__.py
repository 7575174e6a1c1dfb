"""Reads data sets from the user's own folders; makes sampling plans and batches.

Nothing here imports TensorFlow except `jreid.data.pipeline` and `jreid.data.tfds`.
"""

import difflib
import inspect
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral

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
      ValueError: the set or an option is unknown, an option is of another type, or the files are
        not the set's.
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
    _check_types(name, loader, options)
    if root is None and name != 'synthetic':
        raise ValueError(
            f'{name} is read from a folder of yours: give root, the folder that holds it'
        )
    return loader(root, **options)


_KINDS: dict[type, tuple[type | tuple[type, ...], str]] = {
    bool: (bool, 'True or False'),
    int: (Integral, 'a whole number'),
    str: ((str, os.PathLike), 'a text'),
    os.PathLike: (os.PathLike, 'a path'),
    Sequence: ((list, tuple), 'several texts'),
    type(None): (type(None), 'None'),
}
"""Type in a loader's signature -> the types that are taken for it, and its words."""


def _check_types(name: str, loader: Callable[..., Splits], options: Mapping[str, object]) -> None:
    """Checks options by the loader's signature.

    Raises:
      ValueError: an option is of another type.
    """
    hints = typing.get_type_hints(loader)
    for option, value in options.items():
        parts = typing.get_args(hints.get(option)) or (hints.get(option),)
        kinds = [_KINDS.get(typing.get_origin(part) or part) for part in parts]
        known = [kind for kind in kinds if kind]
        # True is a whole number to Python.
        fitting = [types for types, _ in known if types is bool or not isinstance(value, bool)]
        if len(known) == len(parts) and not any(isinstance(value, types) for types in fitting):
            expected = ', '.join(words for _, words in known)
            raise ValueError(f'{name}: {option} is {value!r}; expected {expected}')
