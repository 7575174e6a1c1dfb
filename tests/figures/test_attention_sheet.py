"""Attention over images: colours, the size of the sheet, and errors."""

import numpy as np
import pytest
from PIL import Image

from jreid.figures import attention_sheet, overlay

IMAGE = np.full((32, 16, 3), 120, np.uint8)


def test_no_heat_is_the_image_in_grey():
    image = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    found = overlay(image, np.zeros((4, 2)))
    np.testing.assert_allclose(found, np.repeat(image.mean(-1, keepdims=True), 3, -1), atol=0.51)


def test_heat_colours_its_own_place():
    heat = np.zeros((4, 2))
    heat[0, 1] = 1
    colourfulness = np.ptp(overlay(IMAGE, heat).astype(int), axis=-1)
    assert colourfulness[2, 14] > 20
    assert colourfulness[20:].max() <= 1
    assert colourfulness[2, 0] < colourfulness[2, 14]


@pytest.mark.parametrize(
    'heat', [np.full((4, 2), 1.5), np.full((4, 2), -0.1), np.full((4, 2), np.nan), np.zeros(4)]
)
def test_heat_outside_its_range_is_refused(heat):
    with pytest.raises(ValueError, match=r'expected \[h, w\] in \[0, 1\]'):
        overlay(IMAGE, heat)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB')).astype(int)


def test_sheet_has_a_row_per_image_and_a_column_per_heat(tmp_path):
    images, heat = np.stack([IMAGE] * 3), np.zeros((3, 4, 2))
    one = pixels(
        attention_sheet(
            tmp_path / 'one.png', images[:1], {'T = 0': heat[:1]}, names=['a.jpg'], height=96
        )
    )
    heats = {'T = 0': heat, 'T = 1': np.ones((3, 8, 4))}
    more = pixels(
        attention_sheet(
            tmp_path / 'more.png', images, heats, names=['a.jpg', 'b.jpg', 'c'], height=96
        )
    )
    assert more.shape[0] - one.shape[0] == 2 * (96 + 6 + 20)
    assert more.shape[1] - 6 == (one.shape[1] - 6) * 3 // 2
    first, last = more[:, : more.shape[1] // 3], more[:, 2 * more.shape[1] // 3 :]
    assert np.ptp(last, axis=-1).max() > 20
    assert np.ptp(first, axis=-1).max() <= 1


@pytest.mark.parametrize(
    ('count', 'heats'), [(0, {'a': np.zeros((0, 4, 2))}), (2, {}), (2, {'a': np.zeros((3, 4, 2))})]
)
def test_rows_that_do_not_match_are_refused(tmp_path, count, heats):
    with pytest.raises(ValueError, match=f'found {count} images'):
        attention_sheet(tmp_path / 'x.png', np.stack([IMAGE] * 2)[:count], heats)
