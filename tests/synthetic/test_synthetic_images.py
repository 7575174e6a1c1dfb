"""Images of many people: their masks are true, and their colours identify some of them."""

import numpy as np
import pytest

from jreid.synthetic import Generator
from jreid.synthetic.domains import PLAZA
from jreid.synthetic.identity import draw_identity

PEOPLE = {'plaza': 60, 'campus': 30}
# Four of the six cameras give the colours about as many hits as all of them.
CAMERAS = 4


@pytest.fixture(scope='module')
def sample() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns images, masks and keys of two domains.

    Image 1 of each person and camera is for the gallery, image 0 of every other person a query.
    """
    generator = Generator(0)
    keys = {
        domain: [
            (person, camera, index)
            for person in range(people)
            for camera in range(CAMERAS)
            for index in ((0, 1) if person % 2 == 0 else (1,))
        ]
        for domain, people in PEOPLE.items()
    }
    return {
        domain: (*generator.batch(domain, keys[domain]), np.array(keys[domain]))
        for domain in PEOPLE
    }


def test_masks_cover_people_with_all_parts(sample):
    for domain, (images, masks, _) in sample.items():
        assert images.dtype == masks.dtype == np.uint8
        assert set(np.unique(masks)) == set(range(8)), domain
        assert (masks > 0).mean() == pytest.approx(0.36, abs=0.04), domain
        for part in range(1, 8):
            assert (masks == part).any((1, 2)).mean() > 0.9, (domain, part)


def test_parts_lie_in_the_order_of_a_body(sample):
    rows = np.arange(128)[None, :, None]
    for _, masks, _ in sample.values():
        height = [
            (rows * (masks == part)).sum() / (masks == part).sum() for part in (1, 2, 5, 6, 7)
        ]
        assert height == sorted(height)


def test_masks_lie_on_the_pixels(sample):
    """Edges of masks and images coincide best where neither is shifted."""

    def edges(x: np.ndarray) -> np.ndarray:
        down, right = np.diff(x, axis=1)[:, :, :-1], np.diff(x, axis=2)[:, :-1]
        return np.abs(down) + np.abs(right)

    for images, masks, _ in sample.values():
        # A quarter of the images suffices.
        images, masks = images[::4].astype(np.float32), (masks[::4] > 0).astype(np.float32)
        in_image, in_mask = edges(images.mean(-1)), edges(masks)
        shifts = [(dy, dx) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)]
        agreement = [(in_image * np.roll(in_mask, shift, (1, 2))).mean() for shift in shifts]
        assert shifts[int(np.argmax(agreement))] == (0, 0)


def test_labels_correspond_to_pixels(sample):
    """Black tops look darker than white ones, through all cameras."""
    images, masks, keys = sample['plaza']
    colour = np.array([draw_identity(0, PLAZA, person).top.colour_name for person in keys[:, 0]])
    luma = np.array(
        [
            image[mask == 2].mean() if (mask == 2).any() else np.nan
            for image, mask in zip(images, masks, strict=True)
        ]
    )
    assert np.nanmean(luma[colour == 'black']) < 0.6 * np.nanmean(luma[colour == 'white'])


def histogram(images: np.ndarray) -> np.ndarray:
    """Computes square roots of 8 x 4 x 4 HSV histograms, of every second row and column.

    Their inner product is the Hellinger affinity.
    """
    x = images[:, ::2, ::2].astype(np.float32) / 255
    value = x.max(-1)
    spread = value - x.min(-1)
    red, green, blue = np.moveaxis(x, -1, 0)
    safe = spread + np.float32(1e-6)
    hue = (
        np.where(
            value == red,
            ((green - blue) / safe) % 6,
            np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
        )
        / 6
    )
    saturation = spread / (value + 1e-6)
    cell = np.stack(
        [
            np.minimum((channel * n).astype(int), n - 1)
            for channel, n in ((hue, 8), (saturation, 4), (value, 4))
        ]
    )
    code = (cell[0] * 4 + cell[1]) * 4 + cell[2]
    counts = np.stack([np.bincount(row.ravel(), minlength=128) for row in code])
    return np.sqrt(counts / counts.sum(1, keepdims=True))


def rank1(features: np.ndarray, keys: np.ndarray) -> float:
    """Computes rank-1 by Market-1501's protocol: image 0 is the query, image 1 the gallery's."""
    query, gallery = keys[:, 2] == 0, keys[:, 2] == 1
    affinity = features[query] @ features[gallery].T
    same_person = keys[query][:, None, 0] == keys[gallery][None, :, 0]
    same_camera = keys[query][:, None, 1] == keys[gallery][None, :, 1]
    best = np.where(same_person & same_camera, -1, affinity).argmax(1)
    return float(same_person[np.arange(len(best)), best].mean())


@pytest.mark.parametrize('domain', ['plaza', 'campus'])
def test_colour_alone_finds_some_people(sample, domain):
    images, masks, keys = sample[domain]
    whole = rank1(histogram(images), keys)
    assert 0.10 <= whole <= 0.30
    # Without the background it does better: cameras' backgrounds mislead, clothes inform.
    assert rank1(histogram(images * (masks > 0)[..., None]), keys) > whole
