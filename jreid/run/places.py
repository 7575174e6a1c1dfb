"""Where the images of a run lie: its files name them relative to the folder of the data.

So a run can be moved and shared: `labels/` and `ranked.npz` hold no path of one machine. Images
that lie elsewhere, and those of runs written before, are named by their absolute paths.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jreid.data.datasets.listing import control_characters
from jreid.files import cache_folder
from jreid.methods.contract import SOURCE, TARGET

NO_SOURCE = 'none'
"""The value of `data.source` in an unsupervised run."""


def roots(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns role -> the folder that a set's images lie below, absolute; no source, no folder.

    Args:
      settings: `config.data`, or the same out of `config.json`.
    """
    folders = {}
    for role in (TARGET, SOURCE):
        if settings[role] == NO_SOURCE:
            continue
        generated = settings[role] == 'synthetic'
        root = settings[f'{role}_root'] or ('' if generated else settings['root'])
        place = pathlib.Path(root).expanduser().absolute() if root else cache_folder().absolute()
        folders[role] = os.path.normpath(place.parent if place.suffix.lower() == '.csv' else place)
    return folders


def heading(source: str, target: str, between: str = ' -> ') -> str:
    """Returns the names of a run's sets as one text."""
    if source == NO_SOURCE:
        return f'{target}, without a source'
    return f'{source}{between}{target}'


def of_run(folder: pathlib.Path, *, root: str = '') -> list[str]:
    """Returns the folders that a run's images may lie below, the most likely first.

    Args:
      root: where they lie now, if it is none of those that the run knows.

    A folder without a readable config has none but `root`.
    """
    known = [os.path.abspath(os.path.expanduser(root))] if root else []
    for name, take in (
        ('config.json', lambda content: list(roots(content['data']).values())),
        ('summary.json', lambda content: [str(at) for at in content.get('roots', {}).values()]),
    ):
        try:
            known += take(json.loads((folder / name).read_text(encoding='utf-8')))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return list(dict.fromkeys(known))


def shorten(paths: Sequence[str], bases: Sequence[str]) -> list[str]:
    """Returns paths relative to the first of the folders that all of them lie in.

    Absolute paths stay where there is no such folder.
    """
    plain = [os.path.normpath(path) for path in paths]
    for base in bases:
        if len(base) > 1 and all(path.startswith(f'{base}/') for path in plain):
            return [path[len(base) + 1 :] for path in plain]
    return plain


def lengthen(paths: Sequence[str], bases: Sequence[str]) -> list[str]:
    """Returns absolute paths: relative ones lie in the first of the folders that has the first.

    Where none has it, the first folder is taken: the images are missing.

    Raises:
      ValueError: a path leads out of its folder (`..`) or holds control characters; or there is no
        folder to look in.
    """
    for path in paths:
        known = any(os.path.normpath(path).startswith(f'{base}/') for base in bases)
        leads_out = '..' in path.split('/') and not (os.path.isabs(path) and known)
        if not path or control_characters(path) or leads_out:
            raise ValueError(
                f'the image {path!r} is no path as a run writes it: it is empty, leads out of its'
                ' folder or holds control characters'
            )
    relative = [path for path in paths if not os.path.isabs(path)]
    if not relative:
        return list(paths)
    if not bases:
        raise ValueError(
            f'the image {relative[0]!r} is no absolute path, and no config.json beside it says'
            ' where the data lie'
        )
    base = next((at for at in bases if os.path.exists(os.path.join(at, relative[0]))), bases[0])
    return [path if os.path.isabs(path) else os.path.join(base, path) for path in paths]
