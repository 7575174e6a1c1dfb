"""Reads `.npz` files of arrays that may be damaged or come from elsewhere."""

import os
from collections.abc import Sequence

import numpy as np


def read_arrays(
    path: str | os.PathLike, names: Sequence[str], *, expected: str, optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Reads the named arrays of an `.npz` file.

    Arrays of Python objects are refused, so that no code in the file runs.

    Args:
      expected: what the file should be, for the error.
      optional: names of arrays that may be missing.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be read, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            lacking = sorted(set(names) - set(file.files))
            if lacking:
                raise ValueError(f'it lacks {", ".join(lacking)}')
            return {name: file[name] for name in (*names, *optional) if name in file.files}
    except FileNotFoundError:
        raise
    # The parsers of zip and npy raise errors of many types for a damaged file.
    except Exception as error:
        raise ValueError(f'{path}: {problem(error)}; expected {expected}') from error


def problem(error: Exception) -> str:
    """Describes an error of `np.load`, which takes every unknown file for pickled objects."""
    if 'allow_pickle' in str(error):
        return 'it holds no arrays of numbers and words (.npz, .npy), or some of Python objects'
    return str(error) or type(error).__name__
