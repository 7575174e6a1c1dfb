"""Splits in capital letters are told, not taken for cameras."""

import pytest
from PIL import Image

from jreid.data import load


@pytest.mark.parametrize('names', [('Train', 'Query', 'Gallery'), ('train', 'Query', 'Gallery')])
def test_splits_in_capitals_are_told(tmp_path, names):
    for split, image in zip(names, ('a_c1', 'a_c1', 'b_c2'), strict=True):
        (tmp_path / split / '1').mkdir(parents=True)
        Image.new('RGB', (4, 8)).save(tmp_path / split / '1' / f'{image}.png')
    with pytest.raises(ValueError, match=r'Gallery, Query.*; splits are written in small letters'):
        load('folder', tmp_path)
    for name in names:
        (tmp_path / name).rename(tmp_path / f'{name}.new')
        (tmp_path / f'{name}.new').rename(tmp_path / name.lower())
    assert len(load('folder', tmp_path).query) == 1
