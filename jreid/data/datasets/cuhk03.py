"""CUHK03 (Li et al. 2014): 1,467 people, five camera pairs, drawn or detected boxes."""

import dataclasses
import os
import pathlib
import re
from typing import Any

import numpy as np

from jreid.data.datasets import cuhk03_mat, listing, repeated
from jreid.data.datasets.listing import Photo
from jreid.data.index import Splits

NAME = re.compile(r'(\d)_(\d{3})_([12])_\d{2}')
EXAMPLE = '1_001_1_01.png'
SPLITS = 20
FOLDERS = ('cuhk03', 'CUHK03', 'cuhk03_release')
COUNTS = {
    'labeled': {'train': (7368, 767), 'query': (1400, 700), 'gallery': (5328, 700)},
    'detected': {'train': (7365, 767), 'query': (1400, 700), 'gallery': (5332, 700)},
}
FIELDS = ('filelist', 'labels', 'camId', 'train_idx', 'query_idx', 'gallery_idx')


def load(
    root: str | os.PathLike,
    *,
    images: str = 'labeled',
    protocol: str = 'new',
    annotations: str | None = None,
    pairs: int = 5,
    test_people: int = 100,
    validation_people: int = 0,
    shots: str = 'single',
    split: int = 0,
    split_seed: int = 0,
    direction: str = 'a2b',
    split_file: str | None = None,
    write_splits: str | None = None,
    expected: bool = True,
    bad_files: str = 'error',
    pack_folder: str | None = None,
) -> Splits:
    """Reads the new protocol of CUHK03 or one of the 20 splits of the classic one.

    The new protocol of Zhong et al. 2017 has 767 people to train on and 700 to test; the classic
    one has 1,367 and 100.

    Args:
      root: the folder that holds cuhk-03.mat, or the folder above it. Its images are unpacked to
        `pack_folder` on first use. Where there are folders images_labeled and images_detected,
        with images like 1_001_1_01.png (camera pair, person, view, image), these are read.
      images: 'labeled' (boxes drawn by people) or 'detected'.
      protocol: 'new', from the authors' .mat file. 'classic': queries from one view, the gallery
        from the other (see `direction`). The splits are the authors' test sets where cuhk-03.mat is
        at hand, and drawn here where it is not, or where `pairs` and `test_people` ask for others.
      annotations: cuhk03_new_protocol_config_{labeled,detected}.mat; None where it lies in the
        set's folder or the folder above.
      pairs: camera pairs to draw a classic split from: 5 (1,467 people), or 3 (the 1,360 people of
        pairs 1 to 3, as in early papers).
      test_people: of a classic split.
      validation_people: people of a classic split to leave out of training and test, drawn from
        (split_seed, split): 100 with pairs=3 for 1,160/100/100.
      shots: of a classic split. 'single': the gallery has one random image per person, drawn from
        (split_seed, split). 'all': all of them, from which `evaluation.single_shot` takes the
        expectation or draws.
      pack_folder: where images are unpacked; None for jreid's cache.
      Others: see `jreid.data.datasets.viper.load`.

    The same view of all pairs counts as one camera: camera = view - 1, as in the authors' file.
    """
    if images not in COUNTS:
        raise ValueError(f"images is {images!r}; expected 'labeled' or 'detected'")
    if protocol not in ('new', 'classic'):
        raise ValueError(
            f"protocol is {protocol!r}; expected 'new' (767/700) or 'classic' (20 splits)"
        )
    if shots not in ('single', 'all'):
        raise ValueError(
            f"shots is {shots!r}; expected 'single' (one gallery image per person) or 'all'"
        )
    sub = f'images_{images}'
    shipped = listing.find_file(root, FOLDERS, cuhk03_mat.FILENAME)
    extracted = any((place / sub).is_dir() for place in listing.places(root, FOLDERS))
    if shipped is None or extracted:
        folder = listing.find_folder(
            root,
            FOLDERS,
            (sub,),
            name='CUHK03',
            layout=f'{cuhk03_mat.FILENAME}, or {sub} with images like {EXAMPLE}',
        )
        beside = folder
    else:
        folder, beside = cuhk03_mat.unpack(shipped, images, pack_folder), shipped.parent
    if protocol == 'new':
        splits = _new(folder, sub, _annotations(annotations, images, beside), bad_files)
        if expected:
            listing.check_counts(splits, COUNTS[images], 2)
        return splits
    photos = listing.scan(folder / sub, _parse, example=EXAMPLE, bad_files=bad_files)
    if expected:
        repeated.expect('cuhk03', {'people': len({p.identity for p in photos})}, {'people': 1467})
    photos = [p for p in photos if p.identity < 1000 * (pairs + 1)]
    views = [{p.identity for p in photos if p.camera == camera} for camera in (0, 1)]
    people = views[0] & views[1]
    size = len(people) - test_people
    authors = _authors(shipped, people, test_people, pairs)
    chosen = repeated.choose(
        'cuhk03',
        people,
        split=split,
        train=size,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
        authors=authors,
    )
    if not 0 <= validation_people < len(chosen.train):
        raise ValueError(
            f'validation_people is {validation_people}; expected at least 0 and fewer than the'
            f' {len(chosen.train)} people trained on'
        )
    left_out = np.random.default_rng([split_seed, split, 2]).permutation(chosen.train)[
        :validation_people
    ]
    # A person who appears in one view only (the labeled images have one) cannot be tested, and is
    # trained on in every split.
    chosen = repeated.Split(
        tuple(sorted((set(chosen.train) | (views[0] ^ views[1])) - set(left_out.tolist()))),
        chosen.test,
    )
    candidates = (
        repeated.one_each(photos, seed=split_seed, split=split) if shots == 'single' else None
    )
    splits = repeated.across_cameras(
        'cuhk03', photos, chosen, direction=direction, candidates=candidates
    )
    if authors and not split_file:
        splits = dataclasses.replace(
            splits, notes=(f"the authors' test set {split}, of {shipped}",)
        )
    return splits


def _authors(
    shipped: pathlib.Path | None, people: set[int], test_people: int, pairs: int
) -> list[repeated.Split]:
    """Returns the authors' splits, or none where they do not fit what is asked for."""
    if shipped is None:
        return []
    sets = [set(test) for test in cuhk03_mat.read_test_sets(shipped)]
    if any(len(test) != test_people or max(test) >= 1000 * (pairs + 1) for test in sets):
        return []
    return [repeated.Split(tuple(sorted(people - t)), tuple(sorted(people & t))) for t in sets]


def _parse(base: str) -> tuple[int, int] | None:
    """Returns 1000 times the camera pair plus the person's number in it, and the view."""
    match = NAME.fullmatch(base)
    return (1000 * int(match[1]) + int(match[2]), int(match[3]) - 1) if match else None


def _annotations(annotations: str | None, images: str, folder: pathlib.Path) -> pathlib.Path:
    filename = f'cuhk03_new_protocol_config_{images}.mat'
    places = (
        [pathlib.Path(annotations)]
        if annotations
        else [folder / filename, folder.parent / filename]
    )
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"{' and '.join(map(str, places))} not found: the new protocol's file by Zhong et al. 2017;"
        ' give its path (annotations=PATH)'
    )


def _new(folder: pathlib.Path, sub: str, path: pathlib.Path, bad_files: str) -> Splits:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content: dict[str, Any] = loadmat(path, squeeze_me=True)
    except (MatReadError, ValueError, OSError) as error:
        raise ValueError(f'{path} cannot be read as a MATLAB file: {error}') from error
    if lacking := [field for field in FIELDS if field not in content]:
        raise ValueError(
            f'{path} lacks {", ".join(lacking)}; expected the new protocol of CUHK03 with'
            f' {", ".join(FIELDS)}'
        )
    names = [str(name) for name in content['filelist']]
    if wrong := [name for name in names if not NAME.fullmatch(listing.stem(name))]:
        raise ValueError(
            f'{path} lists {len(wrong):,} images with other names than {EXAMPLE}, e.g. {wrong[0]!r}'
        )
    parts, missing = {}, []
    for split in ('train', 'query', 'gallery'):
        # The file counts from 1.
        rows = np.atleast_1d(content[f'{split}_idx']).astype(np.int64) - 1
        if rows.size and not 0 <= rows.min() <= rows.max() < len(names):
            raise ValueError(
                f'{path}: {split}_idx names image {rows.max() + 1:,}; the list has {len(names):,}'
            )
        photos = []
        for row in rows:
            file = os.path.join(folder, sub, names[row])
            if os.path.isfile(file) and os.path.getsize(file):
                photos.append(
                    Photo(file, int(content['labels'][row]), int(content['camId'][row]) - 1)
                )
            else:
                missing.append(names[row])
        parts[split] = photos
    listing.report_bad(
        missing,
        sum(map(len, parts.values())) + len(missing),
        folder / sub,
        'are missing or empty',
        bad_files,
    )
    return repeated.assemble(
        'cuhk03', train=parts['train'], query=parts['query'], gallery=parts['gallery']
    )
