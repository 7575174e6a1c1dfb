"""RAP (Li et al. 2016; version 2: 2019): people indoors, for attribute teachers."""

import os
from collections.abc import Sequence

import numpy as np

from jreid.data.datasets import listing
from jreid.data.datasets.teaching import splits_of
from jreid.data.index import Splits

ANNOTATIONS = ('RAP_annotation/RAP_annotation.mat', 'RAP_annotation.mat')
LAYOUT = f'{" or ".join(ANNOTATIONS)}, and RAP_dataset/ with the images'


def load(
    root: str | os.PathLike, *, partition: int = 0, attributes: int = 0, bad_files: str = 'error'
) -> Splits:
    """Reads RAP as a teacher's data: images and attributes, no identities.

    The two versions of the annotation file name and order their fields differently, so the reader
    recognises fields by their form. It expects N names of images, M names of attributes, an [N, M]
    table, and the partitions, from 1. A partition has train and test, and in version 2 validation,
    whose images are left out. A label of 2 counts as 1.

    Args:
      root: the folder that holds RAP_annotation and RAP_dataset, or the folder above it.
      partition: 0 to 4, one of the authors' five.
      attributes: number of leading columns to use. 0: those before 'attachment-Baby', the 96 of
        version 2 that the PTL paper counts, or the first 51 of version 1, which its authors
        evaluate. Columns that are not binary (viewpoint, boxes) are left out.
      bad_files: what to do where images are missing: 'error', or 'skip' to leave them out with a
        warning.
    """
    folder = listing.find_folder(
        root, ('rap', 'RAP', 'RAP2', 'rap2'), ('RAP_dataset',), name='RAP', layout=LAYOUT
    )
    annotation = next((folder / n for n in ANNOTATIONS if (folder / n).is_file()), None)
    if annotation is None:
        raise FileNotFoundError(f'RAP: {folder} lacks {ANNOTATIONS[0]}. Its layout: {LAYOUT}')
    images, names, table, partitions = _read(annotation)
    if not 0 <= partition < len(partitions):
        raise ValueError(f'partition is {partition}; the annotation has {len(partitions)}, from 0')
    end = attributes or (
        names.index('attachment-Baby') if 'attachment-Baby' in names else min(51, len(names))
    )
    table = np.where(table == 2, 1, table)
    columns = [i for i in range(min(end, len(names))) if np.isin(table[:, i], (0, 1)).all()]
    inside = [listing.inside(folder / 'RAP_dataset', name) for name in images]
    outside = [name for name, path in zip(images, inside, strict=True) if path is None]
    if outside:
        raise ValueError(
            f'{annotation}: the image {outside[0]!r} leads out of {folder / "RAP_dataset"}'
            ' or holds control characters'
        )
    paths = [path for path in inside if path is not None]
    missing = np.asarray([not os.path.isfile(path) for path in paths], bool)
    listing.report_bad(
        [images[i] for i in np.flatnonzero(missing)],
        len(images),
        folder / 'RAP_dataset',
        'are missing',
        bad_files,
    )
    train, test = (
        _mask(partitions[partition], part, len(images)) & ~missing for part in ('train', 'test')
    )
    return splits_of(
        'rap',
        paths,
        table[:, columns].astype(np.float32),
        [names[i] for i in columns],
        train=train,
        test=test,
    )


def _read(path: os.PathLike) -> tuple[list[str], list[str], np.ndarray, list[object]]:
    """Reads image names, attribute names, table [N, M] and partitions (structs)."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        struct = loadmat(path, squeeze_me=True, struct_as_record=False)['RAP_annotation']
        fields = {name: getattr(struct, name) for name in struct._fieldnames}
    except (MatReadError, ValueError, KeyError, OSError, AttributeError) as error:
        raise ValueError(f'{path} cannot be read as the annotation of RAP: {error}') from error
    lists = {name: [str(x) for x in value] for name, value in fields.items() if _are(value, str)}
    images = next(
        (value for value in lists.values() if all(listing.is_image(x) for x in value)), None
    )
    tables = [
        value
        for value in fields.values()
        if isinstance(value, np.ndarray)
        and value.ndim == 2
        and np.issubdtype(value.dtype, np.number)
    ]
    widths = {len(value) for value in lists.values() if value is not images}
    table = next(
        (
            value
            for value in tables
            if images is not None and len(value) == len(images) and value.shape[1] in widths
        ),
        None,
    )
    # Version 1 has the attributes' names in English and in Chinese.
    named = (
        []
        if table is None
        else [
            (name, value)
            for name, value in lists.items()
            if len(value) == table.shape[1] and value is not images
        ]
    )
    partitions = next(
        (
            list(value)
            for value in fields.values()
            if _are(value, object) and all(_part(x, 'train') for x in value)
        ),
        None,
    )
    if images is None or table is None or not named or partitions is None:
        raise ValueError(
            f'{path}: fields {", ".join(fields)}; expected names of images, names of attributes, a'
            ' table of both, and partitions'
        )
    names = next((value for name, value in named if 'eng' in name), named[0][1])
    return images, names, table, partitions


def _are(value: object, kind: type) -> bool:
    """Returns whether a value is an array of strings (kind str) or of structs (kind object)."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not len(value):
        return False
    return (
        all(isinstance(x, str) for x in value)
        if kind is str
        else all(hasattr(x, '_fieldnames') for x in value)
    )


def _part(partition: object, name: str) -> Sequence[str]:
    return [field for field in getattr(partition, '_fieldnames', ()) if name in field.lower()]


def _mask(partition: object, name: str, n: int) -> np.ndarray:
    fields = _part(partition, name)
    rows = (
        np.atleast_1d(getattr(partition, fields[0])).astype(np.int64) - 1
        if fields
        else np.zeros(0, np.int64)
    )
    if not len(rows) or rows.min() < 0 or rows.max() >= n:
        raise ValueError(
            f'RAP: the {name} part of a partition names images {rows.min(initial=0) + 1} to'
            f' {rows.max(initial=0) + 1}; there are {n:,}'
        )
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask
