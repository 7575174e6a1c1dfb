"""Contact sheets."""

import pytest
from PIL import Image

from jreid.figures import contact_sheet


def write(path, colour, *, orientation=None):
    image = Image.new('RGB', (10, 20), colour)
    exif = Image.Exif()
    if orientation:
        image = Image.new('RGB', (20, 10), colour)
        image.paste('blue', (0, 0, 10, 10))
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def test_rows_captions_and_title(tmp_path):
    files = [write(tmp_path / f'{i}.png', 'red') for i in range(5)]
    sheet = contact_sheet(
        tmp_path / 'out' / 'sheet.png',
        files,
        captions=['a very long name.png'] * 5,
        columns=2,
        cell=(40, 20),
        title='five',
    )
    with Image.open(sheet) as image:
        pixels = image.convert('RGB')
    assert pixels.size[1] == 6 + 28 + 3 * (40 + 6 + 18)
    assert pixels.getpixel((16, 34 + 20)) == (255, 0, 0)
    assert pixels.getpixel((16 + 26, 34 + 2 * 64 + 20)) == (255, 255, 255)


def test_orientation_that_the_camera_noted_is_applied(tmp_path):
    file = write(tmp_path / 'lying.jpg', 'red', orientation=6)
    sheet = contact_sheet(tmp_path / 'sheet.png', [file], cell=(40, 20))
    with Image.open(sheet) as image:
        top, bottom = image.getpixel((16, 12)), image.getpixel((16, 40))
    assert top[2] > 200 > top[0]
    assert bottom[0] > 200 > bottom[2]


def test_wrong_calls_are_refused(tmp_path):
    file = write(tmp_path / 'a.png', 'red')
    with pytest.raises(ValueError, match='found 0 images'):
        contact_sheet(tmp_path / 'sheet.png', [])
    with pytest.raises(ValueError, match='1 images and 2 captions'):
        contact_sheet(tmp_path / 'sheet.png', [file], captions=['a', 'b'])
    with pytest.raises(FileNotFoundError):
        contact_sheet(tmp_path / 'sheet.png', [tmp_path / 'none.png'])
    assert not (tmp_path / 'sheet.png').exists()
