"""Decoding: colour modes, 16-bit grey, and images that are refused."""

import numpy as np
import pytest
from PIL import Image

from jreid.data import decoding

SIZE = (16, 8)


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', 'CMYK'])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ('x.jpg' if mode == 'CMYK' else 'x.png')
    Image.fromarray(np.full((20, 10, 3), (200, 40, 90), np.uint8)).convert(mode).save(path)
    pixels = decoding.decode(str(path), SIZE)
    assert pixels.shape == (*SIZE, 3)
    expected = Image.open(path).convert('RGB').resize(SIZE[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels, expected)


def test_sixteen_bits_keep_their_range_and_other_numbers_are_refused(tmp_path):
    ramp = np.linspace(0, 65535, 8).astype(np.uint16)
    path = str(tmp_path / 'x.png')
    Image.fromarray(np.repeat(ramp[:, None], 4, 1)).save(path)
    pixels = decoding.decode(path, (8, 4))
    np.testing.assert_array_equal(pixels[:, 0, 1], ramp >> 8)
    for values, message in (
        (np.full((8, 4), 0.5, np.float32), 'floating-point pixels'),
        (np.full((8, 4), 1 << 20, np.int32), 'expected 8 or 16 bits'),
    ):
        Image.fromarray(values).save(tmp_path / 'y.tif')
        with pytest.raises(decoding.BadImageError, match=message):
            decoding.decode(str(tmp_path / 'y.tif'), (8, 4))


def test_image_of_immense_size_is_refused_unread(tmp_path, monkeypatch):
    Image.new('L', (40, 40)).save(tmp_path / 'x.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(decoding.BadImageError, match='decompression bomb'):
        decoding.decode(str(tmp_path / 'x.png'), (8, 4))
    with pytest.raises(decoding.BadImageError, match='decompression bomb'):
        decoding.decode_mask(str(tmp_path / 'x.png'), (8, 4))
