"""Decoding: colour modes, 16-bit grey, and images that are refused."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from jreid import figures
from jreid.data import decoding
from jreid.imaging import upright
from jreid.report import thumbnails

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


@pytest.mark.parametrize(('bits', 'shift'), [(8, 0), (12, 4), (16, 8)])
def test_greys_keep_their_range(tmp_path, bits, shift):
    ramp = np.linspace(0, (1 << bits) - 1, 8).astype(np.uint16)
    path = str(tmp_path / 'x.png')
    Image.fromarray(np.repeat(ramp[:, None], 4, 1)).save(path)
    np.testing.assert_array_equal(decoding.decode(path, (8, 4))[:, 0, 1], ramp >> shift)


def phone(path, orientation):
    """Writes a picture that is red above and blue below once EXIF has turned it."""
    upright = Image.new('RGB', (20, 40), 'blue')
    upright.paste('red', (0, 0, 20, 20))
    turns = {
        1: None,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    turn = turns[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (upright.transpose(turn) if turn else upright).save(path, exif=exif)
    return str(path)


def red_over_blue(pixels):
    top, bottom = pixels[2, pixels.shape[1] // 2], pixels[-3, pixels.shape[1] // 2]
    return top[0] > 200 > 50 > top[2] and bottom[2] > 200 > 50 > bottom[0]


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
def test_portraits_of_phones_stand_upright(tmp_path, orientation, suffix):
    path = phone(tmp_path / f'x.{suffix}', orientation)
    assert red_over_blue(decoding.decode(path, (16, 8)))


def test_sixteen_bit_greys_are_turned_too(tmp_path):
    grey = np.zeros((4, 8), np.uint16)
    grey[:, :4] = 65535
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey).save(tmp_path / 'x.png', exif=exif)
    pixels = decoding.decode(str(tmp_path / 'x.png'), (8, 4))[..., 0]
    assert pixels[0, 0] == 255
    assert pixels[-1, 0] == 0


def test_figures_and_thumbnails_are_upright(tmp_path):
    path = phone(tmp_path / 'x.jpg', 6)
    (picture,), missing = thumbnails.encode([path], height=40)
    assert not missing
    small = Image.open(io.BytesIO(base64.b64decode(picture))).convert('RGB')
    assert red_over_blue(np.asarray(small))
    sheet = figures.ranked_sheet(tmp_path / 'sheet.png', [path], [[path]], None, top=1)
    drawn = np.asarray(Image.open(sheet).convert('RGB')).astype(int)
    red = np.argwhere((drawn[..., 0] > 200) & (drawn[..., 1:].max(-1) < 60))
    blue = np.argwhere((drawn[..., 2] > 200) & (drawn[..., :2].max(-1) < 60))
    assert len(red) > 500
    assert red[:, 0].max() < blue[:, 0].min()


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    path = tmp_path / 'x.jpg'
    Image.new('RGB', (8, 16), 'red').save(path, exif=b'Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\x01')
    assert decoding.decode(str(path), (16, 8))[..., 0].min() > 200


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'empty file'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'a pointer of Git LFS'),
        (b'text', 'cannot identify image file'),
        (None, 'no such file'),
    ],
)
def test_files_that_are_no_image_say_what_they_are(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'x.jpg').write_bytes(content)
    with pytest.raises(decoding.BadImageError, match=f'x.jpg.*{message}|{message}.*x.jpg'):
        decoding.decode(str(tmp_path / 'x.jpg'), SIZE)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_all_orientations_turn_as_pillow_turns_them(orientation):
    image = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(6, 4, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, 'PNG', exif=exif)
    with Image.open(buffer) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    with Image.open(buffer) as opened:
        np.testing.assert_array_equal(np.asarray(upright(opened)), expected)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(decoding.BadImageError, match='a folder, expected an image'):
        decoding.decode(str(tmp_path), (4, 4))
