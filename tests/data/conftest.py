"""Small image trees with the names of the real sets."""

import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos() -> Callable[[pathlib.Path, Iterable[str]], None]:
    """Returns a function (folder, names) that writes a small noise image under each name."""

    def write(folder: pathlib.Path, names: Iterable[str]) -> None:
        for i, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (24, 12, 3), np.uint8)
            Image.fromarray(pixels).save(path, quality=90)

    return write


@pytest.fixture
def market(
    tmp_path: pathlib.Path, photos: Callable[[pathlib.Path, Iterable[str]], None]
) -> pathlib.Path:
    """Returns a folder with a Market-1501 of 2 + 2 people, a distractor and junk.

    The folder's own name looks like an image's.
    """
    root = tmp_path / '0099_c6s1_000001_01_2024_c3'
    tree = root / 'Market-1501-v15.09.15'
    photos(
        tree / 'bounding_box_train',
        ['0007_c2s1_000001_01.jpg', '0002_c1s1_000451_03.jpg', '0002_c3s1_000452_01.jpg'],
    )
    photos(tree / 'query', ['0003_c1s1_000001_00.jpg', '0001_c6s4_000002_00.jpg'])
    photos(
        tree / 'bounding_box_test',
        [
            '0001_c1s1_000003_01.jpg',
            '0003_c2s1_000004_01.jpg',
            '0003_c1s1_000004_01.jpg',
            '0000_c5s1_000005_01.jpg',
            '-1_c4s1_000006_01.jpg',
        ],
    )
    (tree / 'bounding_box_test' / 'Thumbs.db').write_bytes(b'no image')
    return root
