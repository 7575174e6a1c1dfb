"""Augmentation: bounds and distributions by value, and that nothing but the key decides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.configs import base
from jreid.engine.augment import augment, normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
H, W, N = 32, 16, 400
DEFAULTS = base.get_config().augment.to_dict()
OFF = DEFAULTS | {
    'mean': (0.0, 0.0, 0.0),
    'std': (1.0, 1.0, 1.0),
    'flip': False,
    'pad': 0,
    'erase_probability': 0.0,
}
"""With these settings the output is images / 255."""


@functools.cache
def jitted(**settings):
    return jax.jit(functools.partial(augment, **settings))


def run(images, seed=0, **changes) -> np.ndarray:
    """Output in pixel values, where mean and std are left at 0 and 1."""
    return np.asarray(jitted(**(OFF | changes))(jax.random.key(seed), jnp.asarray(images))) * 255


def noise(n=N) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (n, H, W, 3), np.uint8)


def test_normalise():
    images = noise(2)
    expected = (images.astype(np.float64) / 255 - MEAN) / STD
    out = normalise(jnp.asarray(images), MEAN, STD)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, expected, atol=2e-6)


def test_normalise_of_other_backbones():
    images = jnp.asarray(noise(1))
    np.testing.assert_allclose(
        normalise(images, (127 / 255,) * 3, (128 / 255,) * 3),
        (np.asarray(images, float) - 127) / 128,
        atol=1e-6,
    )


def test_all_off_is_normalise():
    images = jnp.asarray(noise(3))
    out = augment(jax.random.key(0), images, **(OFF | {'mean': MEAN, 'std': STD}))
    np.testing.assert_array_equal(out, normalise(images, MEAN, STD))


def test_flip_mirrors_half():
    images = noise()
    out = np.round(run(images, flip=True)).astype(np.uint8)
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    assert (mirrored | (out == images).all((1, 2, 3))).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / N**0.5


def test_crop_shifts_uniformly_and_pads_with_black():
    # The pixel value says where a pixel was: rows in channel 0, columns in channel 1; a third
    # channel tells black border from image.
    places = np.stack(
        [*np.meshgrid(np.arange(H), np.arange(W), indexing='ij'), np.full((H, W), 200)], -1
    ).astype(np.uint8)
    out = np.round(run(np.broadcast_to(places, (N, H, W, 3)), pad=3)).astype(int)
    shifts = []
    for image in out:
        inside = image[..., 2] == 200
        row, column = np.argwhere(inside)[0]
        dy, dx = image[row, column, 0] - row, image[row, column, 1] - column
        wanted = np.zeros((H + 6, W + 6, 3), int)
        wanted[3:-3, 3:-3] = places
        np.testing.assert_array_equal(image, wanted[3 + dy : 3 + dy + H, 3 + dx : 3 + dx + W])
        shifts.append((dy, dx))
    counts = np.asarray(
        [np.bincount(np.asarray(shifts)[:, axis] + 3, minlength=7) for axis in (0, 1)]
    )
    assert counts.shape == (2, 7)
    # Each of 7 shifts has probability 1/7; 5 standard deviations.
    np.testing.assert_allclose(counts / N, 1 / 7, atol=5 * (1 / 7 * 6 / 7 / N) ** 0.5)


def test_black_border_is_black_before_normalisation():
    images = jnp.full((N, H, W, 3), 255, jnp.uint8)
    out = np.asarray(
        jitted(**(OFF | {'mean': MEAN, 'std': STD, 'pad': 3}))(jax.random.key(0), images)
    )
    np.testing.assert_allclose(out.min((0, 1, 2)), -np.asarray(MEAN) / STD, atol=1e-6)


def rectangles(out):
    """(top, left, height, width) of what is 0 in each image; checks that it is a full rectangle."""
    boxes = []
    for erased in (np.abs(out) < 1e-3).all(-1):
        if not erased.any():
            boxes.append((0, 0, 0, 0))
            continue
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        box = rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert erased.sum() == box[2] * box[3]
        boxes.append(box)
    return np.asarray(boxes)


def test_erasing_share_and_bounds():
    boxes = rectangles(run(noise(), erase_probability=0.5, erase_fill='zero'))
    erased = boxes[:, 2] > 0
    assert abs(erased.mean() - 0.5) < 4 * 0.5 / N**0.5
    _, _, h, w = boxes[erased].T
    area, aspect = h * w / (H * W), h / w
    # Rounding each side by half a pixel moves the bounds a little.
    assert area.min() > 0.005
    assert area.max() < 0.4 * 1.15
    assert aspect.min() > 0.2
    assert aspect.max() < 3.3 * 1.5
    assert h.max() < H
    assert w.max() < W
    # The rounding is unbiased: mean area of what fits lies well inside .02 .. .4.
    assert 0.12 < area.mean() < 0.25


def test_erased_place_is_uniform():
    boxes = rectangles(
        run(
            noise(),
            erase_probability=1.0,
            erase_fill='zero',
            erase_area=(0.0625, 0.0625),
            erase_aspect=(2.0, 2.0),
        )
    )
    assert boxes[:, 2:].tolist() == [[8, 4]] * N
    for axis, size in ((0, H - 8), (1, W - 4)):
        starts = boxes[:, axis]
        assert (starts.min(), starts.max()) == (0, size)
        assert abs(starts.mean() - size / 2) < 5 * (size + 1) / (12 * N) ** 0.5


def test_what_never_fits_is_not_erased():
    images = noise(8)
    np.testing.assert_array_equal(
        np.round(
            run(images, erase_probability=1.0, erase_area=(0.9, 0.9), erase_aspect=(0.1, 0.1))
        ),
        images,
    )


def test_erasing_rarely_gives_up():
    boxes = rectangles(run(noise(), erase_probability=1.0, erase_fill='zero'))
    assert (boxes[:, 2] > 0).mean() > 0.99


@pytest.mark.parametrize(
    ('fill', 'value'),
    [('mean', MEAN), ('zero', (0, 0, 0)), ('black', tuple(-np.asarray(MEAN) / STD))],
)
def test_fill(fill, value):
    settings = {
        'mean': MEAN,
        'std': STD,
        'erase_probability': 1.0,
        'erase_area': (0.0625, 0.0625),
        'erase_aspect': (2.0, 2.0),
        'erase_fill': fill,
    }
    out = np.asarray(
        jitted(**(OFF | settings))(jax.random.key(0), jnp.full((4, H, W, 3), 255, jnp.uint8))
    )
    kept = (1 - np.asarray(MEAN)) / STD
    erased = np.abs(out - kept).max(-1) > 1e-3
    assert erased.sum((1, 2)).tolist() == [32] * 4
    np.testing.assert_allclose(out[erased], np.broadcast_to(value, (128, 3)), atol=1e-6)


def test_random_fill_is_normal():
    settings = {
        'erase_probability': 1.0,
        'erase_area': (0.25, 0.25),
        'erase_aspect': (2.0, 2.0),
        'erase_fill': 'random',
    }
    out = run(np.full((64, H, W, 3), 255, np.uint8), **settings) / 255
    values = out[out != 1.0]
    assert values.size == 64 * 16 * 8 * 3
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03


def test_brightness_scales():
    images = np.full((N, H, W, 3), 100, np.uint8)
    factors = run(images, colour_jitter=(0.2, 0.0, 0.0))[:, 0, 0, 0] / 100
    assert factors.min() >= 0.8 - 1e-5
    assert factors.max() <= 1.2 + 1e-5
    assert abs(factors.mean() - 1) < 5 * 0.4 / (12 * N) ** 0.5
    assert factors.std() > 0.1
    assert (
        run(np.full((8, H, W, 3), 250, np.uint8), colour_jitter=(1.0, 0.0, 0.0)).max() <= 255 + 1e-3
    )


def test_contrast_keeps_the_mean_grey():
    images = np.random.default_rng(1).integers(100, 156, (16, H, W, 3), np.uint8)
    out = run(images, colour_jitter=(0.0, 0.5, 0.0))
    luma = np.asarray([0.299, 0.587, 0.114])
    np.testing.assert_allclose((out @ luma).mean((1, 2)), (images @ luma).mean((1, 2)), atol=1e-2)
    ratio = out.std((1, 2, 3)) / images.std((1, 2, 3))
    assert ((ratio > 0.49) & (ratio < 1.51)).all()
    assert ratio.std() > 0.1


def test_saturation_keeps_each_pixels_grey():
    images = np.random.default_rng(1).integers(80, 176, (16, H, W, 3), np.uint8)
    out = run(images, colour_jitter=(0.0, 0.0, 0.5))
    luma = np.asarray([0.299, 0.587, 0.114])
    np.testing.assert_allclose(out @ luma, images @ luma, atol=0.02)
    spread = np.ptp(out, axis=-1).mean((1, 2)) / np.ptp(images.astype(float), axis=-1).mean((1, 2))
    assert ((spread > 0.49) & (spread < 1.51)).all()


ALL = DEFAULTS | {
    'mean': MEAN,
    'std': STD,
    'pad': 4,
    'erase_probability': 0.7,
    'colour_jitter': (0.1, 0.1, 0.1),
}


def test_key_decides():
    images = jnp.asarray(noise(6))
    make = jitted(**ALL)
    one, same, other = (make(jax.random.key(seed), images) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (np.asarray(one) != np.asarray(other)).any((1, 2, 3)).all()


def test_images_of_a_batch_are_drawn_apart():
    out = np.asarray(
        jitted(**ALL)(jax.random.key(0), jnp.broadcast_to(jnp.asarray(noise(1)), (6, H, W, 3)))
    )
    assert all((out[i] != out[j]).any() for i in range(6) for j in range(i))


def test_permutation_of_images_with_their_keys():
    images, keys = jnp.asarray(noise(6)), jax.random.split(jax.random.key(1), 6)
    order = np.asarray([4, 2, 0, 5, 1, 3])
    make = jitted(**ALL)
    np.testing.assert_array_equal(make(keys[order], images[order]), make(keys, images)[order])


def test_one_key_is_a_key_an_image():
    images, key = jnp.asarray(noise(3)), jax.random.key(7)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(3))
    np.testing.assert_array_equal(jitted(**ALL)(key, images), jitted(**ALL)(keys, images))


def test_raw_keys_are_keys_too():
    images = jnp.asarray(noise(2))
    np.testing.assert_array_equal(
        jitted(**ALL)(jax.random.PRNGKey(7), images), jitted(**ALL)(jax.random.key(7), images)
    )


@pytest.mark.slow
def test_jit_is_no_jit():
    images, key = jnp.asarray(noise(3)), jax.random.key(5)
    np.testing.assert_allclose(jitted(**ALL)(key, images), augment(key, images, **ALL), atol=2e-6)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'flip': 'maybe'}, "flip is 'maybe'"),
        ({'pad': -1}, 'pad is -1'),
        ({'erase_probability': 1.5}, 'erase_probability is 1.5; expected 0..1'),
        ({'erase_area': (0.4, 0.02)}, 'erase_area is'),
        ({'erase_area': (0.0, 0.4)}, 'erase_area is'),
        ({'erase_area': (0.1,)}, 'erase_area is'),
        ({'erase_aspect': (-1.0, 3.3)}, 'erase_aspect is'),
        ({'erase_aspect': (0.3, float('inf'))}, 'erase_aspect is'),
        ({'erase_aspect': 2.0}, 'erase_aspect is 2.0; expected two'),
        ({'erase_fill': 'grey'}, "erase_fill is 'grey'; expected one of"),
        ({'colour_jitter': (0.1, 0.1)}, 'colour_jitter is'),
        ({'colour_jitter': (2.0, 0.0, 0.0)}, 'colour_jitter is'),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        augment(jax.random.key(0), jnp.asarray(noise(1)), **(OFF | change))


def test_refuses_keys_of_another_batch():
    with pytest.raises(ValueError, match='2 keys for 3 images'):
        augment(jax.random.split(jax.random.key(0), 2), jnp.asarray(noise(3)), **OFF)
