"""Seeded repeated splits of small sets, kept in a file so that others can use the same ones."""

import dataclasses
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Collection, Sequence

import numpy as np

from jreid.data.datasets import listing
from jreid.data.datasets.listing import Photo
from jreid.data.index import Splits
from jreid.files import write_text


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: the set's own ids, ascending, of the people trained on and of those tested.

    Attributes:
      gallery: base names of the gallery's images, where a protocol draws them; empty where the
        people alone decide.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    gallery: tuple[str, ...] = ()


def draw(identities: Collection[int], *, train: int, splits: int, seed: int) -> tuple[Split, ...]:
    """Draws `splits` random splits, with `train` people trained on and the others tested.

    They depend on the sorted ids, the sizes and the seed alone. Split k is the permutation of
    `numpy.random.default_rng([seed, k])`, so it does not depend on the number of splits.
    """
    known = np.unique(np.asarray(list(identities), np.int64))
    if not 0 < train < len(known):
        raise ValueError(
            f'{len(known)} people cannot be split into {train} to train on and some to test'
        )
    drawn = []
    for number in range(splits):
        order = np.random.default_rng([seed, number]).permutation(known)
        drawn.append(
            Split(tuple(sorted(order[:train].tolist())), tuple(sorted(order[train:].tolist())))
        )
    return tuple(drawn)


def write(path: str | os.PathLike, splits: Sequence[Split], *, name: str, seed: int) -> None:
    """Writes splits to a JSON file, unless the file exists.

    Its form is `{"set", "seed", "splits": [{"train": [ids], "test": [ids]}, ...]}`, with
    `"gallery": [base names]` where gallery images are drawn.
    """
    path = pathlib.Path(path)
    if path.exists():
        return
    content = {
        'set': name,
        'seed': seed,
        'splits': [
            {part: value for part, value in dataclasses.asdict(split).items() if value}
            for split in splits
        ],
    }
    write_text(path, json.dumps(content) + '\n')


def read(path: str | os.PathLike, identities: Collection[int], *, name: str) -> tuple[Split, ...]:
    """Reads the splits of a file and checks them against the people of the set.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is no split file or belongs to another set, or it names people twice or
        who are not in the set.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'no split file {path}; it is written by {name} with write_splits={str(path)!r}'
        )
    form = '{"set", "seed", "splits": [{"train": [ids], "test": [ids]}, ...]}'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        belongs = content['set']
        splits = tuple(
            Split(
                tuple(map(int, entry['train'])),
                tuple(map(int, entry['test'])),
                gallery=tuple(map(str, entry.get('gallery', ()))),
            )
            for entry in content['splits']
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path} is no split file: {type(error).__name__} {error}; expected {form}'
        ) from error
    if belongs != name:
        raise ValueError(f'{path} holds splits of {belongs!r}; expected those of {name!r}')
    known = {int(i) for i in identities}
    for number, split in enumerate(splits):
        both = (*split.train, *split.test)
        strangers = sorted(set(both) - known)
        if strangers:
            raise ValueError(
                f'{path}, split {number}: {len(strangers):,} people are not in the set, e.g.'
                f' {strangers[:5]}'
            )
        if len(set(both)) < len(both) or not split.train or not split.test:
            raise ValueError(f'{path}, split {number}: a part is empty, or a person is named twice')
    return splits


def choose(
    name: str,
    identities: Collection[int],
    *,
    split: int,
    train: int,
    splits: int,
    split_seed: int,
    split_file: str | os.PathLike | None,
    write_splits: str | os.PathLike | None,
    gallery_of: Callable[[Split, int], Collection[Photo]] | None = None,
    authors: Sequence[Split] = (),
) -> Split:
    """Returns the split of number `split`, drawn or read.

    Args:
      identities: the people who can be on either side.
      train: number of people to train on, where splits are drawn.
      splits: number of splits to draw.
      split_file: a file of splits, made here or elsewhere, to read instead; None or '' for none.
      write_splits: a file to write the drawn splits to; if it exists, it must hold the same splits.
      authors: the splits of the set's authors, where they are at hand; none are drawn then.
      gallery_of: (split, its number) -> the gallery's images, where a protocol draws them. They are
        kept with the split. It is not called for a split whose gallery a file names.

    Raises:
      ValueError: there is no split of that number, both files are given, or the file to be written
        holds other splits.
    """
    if split_file and write_splits:
        raise ValueError(
            'split_file and write_splits are both given; name the one file that is read, or the one'
            ' that is written'
        )
    all_splits = (
        read(split_file, identities, name=name)
        if split_file
        else tuple(authors) or draw(identities, train=train, splits=splits, seed=split_seed)
    )
    if gallery_of:
        galleries = (
            split.gallery
            or sorted(os.path.basename(photo.path) for photo in gallery_of(split, number))
            for number, split in enumerate(all_splits)
        )
        all_splits = tuple(
            dataclasses.replace(split, gallery=tuple(gallery))
            for split, gallery in zip(all_splits, galleries, strict=True)
        )
    if write_splits:
        write(write_splits, all_splits, name=name, seed=split_seed)
        if read(write_splits, identities, name=name) != all_splits:
            raise ValueError(
                f'{write_splits} holds other splits than those of seed {split_seed}; read it with'
                ' split_file, or write to another file'
            )
    if not 0 <= split < len(all_splits):
        raise ValueError(f'split is {split}; {name} has the splits 0..{len(all_splits) - 1}')
    return all_splits[split]


def assemble(
    name: str,
    *,
    train: Sequence[Photo],
    query: Sequence[Photo],
    gallery: Sequence[Photo],
    has_cameras: bool = True,
) -> Splits:
    """Builds `Splits` of photos.

    Raises:
      ValueError: a part is empty.
    """
    parts = {'train': train, 'query': query, 'gallery': gallery}
    for part, photos in parts.items():
        if not photos:
            raise ValueError(
                f'{name}: the {part} split is empty; the split file names people of whom there is'
                ' no such image'
            )
    return Splits(
        name=name,
        train=listing.build(train, dense=True),
        query=listing.build(query, dense=False),
        gallery=listing.build(gallery, dense=False),
        has_cameras=has_cameras,
    )


def across_cameras(
    name: str,
    photos: Sequence[Photo],
    split: Split,
    *,
    direction: str,
    candidates: Sequence[Photo] | None = None,
) -> Splits:
    """Builds `Splits` with queries from one of two cameras and the gallery from the other.

    Args:
      direction: 'a2b': queries from camera 0, gallery from camera 1; 'b2a': the other way round.
      candidates: the gallery's candidates, where not all photos are.
    """
    if direction not in ('a2b', 'b2a'):
        raise ValueError(
            f"direction is {direction!r}; expected 'a2b' (queries from camera a, gallery from"
            " camera b) or 'b2a'"
        )
    camera = 'ab'.index(direction[0])
    train, test = set(split.train), set(split.test)
    return assemble(
        name,
        train=[p for p in photos if p.identity in train],
        query=[p for p in photos if p.identity in test and p.camera == camera],
        gallery=[
            p
            for p in (photos if candidates is None else candidates)
            if p.identity in test and p.camera != camera
        ],
    )


def one_each(photos: Sequence[Photo], *, seed: int, split: int) -> list[Photo]:
    """Draws one photo per person and camera, the gallery of a single-shot protocol.

    The draw depends on the names, the seed and the split alone.
    """
    generator = np.random.default_rng([seed, split, 1])
    groups: dict[tuple[int, int], list[Photo]] = {}
    for photo in sorted(photos, key=lambda p: os.path.basename(p.path)):
        groups.setdefault((photo.identity, photo.camera), []).append(photo)
    return [group[generator.integers(len(group))] for _, group in sorted(groups.items())]


def expect(name: str, counts: dict[str, int], expected: dict[str, int]) -> None:
    """Warns, naming the differences, where counts are not those of the whole set."""
    differences = [
        f'{what}: {counts[what]:,}, the set has {number:,}'
        for what, number in expected.items()
        if counts[what] != number
    ]
    if differences:
        warnings.warn(
            f'{name} is not the whole set ({"; ".join(differences)}). For a subset pass'
            ' expected=False',
            stacklevel=3,
        )
