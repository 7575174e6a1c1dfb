"""Changes training images at random, on the device and inside the jitted step."""

import math
import numbers
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

ERASE_ATTEMPTS = 10
"""Rectangles drawn per image; the first that fits is erased. With the usual bounds on 2:1 images
three of four fit.
"""

FILLS = ('mean', 'zero', 'black', 'random')


def normalise(
    images: UInt8[Array, 'b h w 3'], mean: Sequence[float], std: Sequence[float]
) -> Float[Array, 'b h w 3']:
    """Returns (images / 255 - mean) / std in float32.

    Args:
      mean, std: for pixel values in [0, 1], one per channel.
    """
    scale = 1 / (255 * jnp.asarray(std, jnp.float32))
    return images.astype(jnp.float32) * scale - jnp.asarray(mean, jnp.float32) / jnp.asarray(
        std, jnp.float32
    )


def augment(
    key: Array,
    images: UInt8[Array, 'b h w 3'],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    flip: bool,
    pad: int,
    erase_probability: float,
    erase_area: tuple[float, float],
    erase_aspect: tuple[float, float],
    erase_fill: str,
    colour_jitter: tuple[float, float, float],
) -> Float[Array, 'b h w 3']:
    """Changes images at random: jitter, flip, pad and crop, normalisation, random erasing.

    The changes are made in this order. `augment_masks` moves masks as the images are moved.

    Args:
      key: one key, of which image i takes fold_in(key, i); or [b] keys, one per image.
      mean, std: see `normalise`.
      flip: mirror with probability 1/2.
      pad: width of the black border (pixel value 0 before normalisation) from which a window of the
        old size is cut at a uniform place.
      erase_probability: share of images in which a rectangle is erased.
      erase_area: bounds of the rectangle's area as a share of the image's; drawn uniformly.
      erase_aspect: bounds of its height / width; drawn uniformly, as the published code does.
      erase_fill: 'mean': the value `mean`, put in after normalisation, as the strong baseline does;
        'zero': 0 after normalisation, the mean colour; 'black': pixel value 0 before it; 'random':
        one normal draw per value after it.
      colour_jitter: x for brightness, contrast and saturation, which are multiplied by factors
        uniform in 1 - x .. 1 + x; 0 for none.

    Raises:
      ValueError: as `check`.

    Source: Luo et al. 2019 (strong baseline); Zhong et al. 2017, "Random erasing data
    augmentation", algorithm 1.
    """
    n, height, width, _ = images.shape
    check(
        flip=flip,
        pad=pad,
        erase_probability=erase_probability,
        erase_area=erase_area,
        erase_aspect=erase_aspect,
        erase_fill=erase_fill,
        colour_jitter=colour_jitter,
    )
    keys = _keys(key, n)
    draws = _draws(keys)
    for_flip, for_crop, for_colour, for_rectangle = (
        draws[:, 0],
        draws[:, 1:3],
        draws[:, 3:6],
        draws[:, 6:],
    )
    if any(colour_jitter):
        images = _jitter(for_colour, images, colour_jitter)
    if flip:
        images = jnp.where((for_flip < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    if pad:
        images = _crop(for_crop, images, pad)
    out = normalise(images, mean, std)
    if erase_probability:
        inside = _rectangles(
            for_rectangle, height, width, erase_probability, erase_area, erase_aspect
        )
        out = jnp.where(inside[..., None], _fill(keys, out, erase_fill, mean, std), out)
    return out


def augment_masks(
    key: Array, masks: UInt8[Array, 'b h w'], *, flip: bool, pad: int
) -> UInt8[Array, 'b h w']:
    """Flips and crops part masks as `augment` does images of the same key and settings.

    Beyond the border is class 0, the background. Erased pixels of the image keep their class.
    Classes must be the same on either side of the body.
    """
    draws = _draws(_keys(key, masks.shape[0]))
    masks = masks[..., None]
    if flip:
        masks = jnp.where((draws[:, 0] < 0.5)[:, None, None, None], masks[:, :, ::-1], masks)
    return (_crop(draws[:, 1:3], masks, pad) if pad else masks)[..., 0]


def _keys(key: Array, n: int) -> Array:
    keys = key if _is_batch(key) else jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n))
    if len(keys) != n:
        raise ValueError(f'{len(keys)} keys for {n} images; give one key, or one per image')
    return keys


def _draws(keys: Array) -> Array:
    """Returns all numbers in [0, 1) of each image, in one draw.

    One draw per purpose takes about twice as long to compile.
    """
    return jax.vmap(lambda k: jax.random.uniform(k, (9 + 2 * ERASE_ATTEMPTS,)))(keys)


def _crop(draws: Array, images: Array, pad: int) -> Array:
    """Cuts a window of the old size out of the images with a border of zeros.

    Args:
      draws: [b, 2] in [0, 1), the window's place.
    """
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corner = (draws * (2 * pad + 1)).astype(jnp.int32)
    return jax.vmap(
        lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), images.shape[1:])
    )(padded, corner)


def _rectangles(
    draws: Array,
    height: int,
    width: int,
    probability: float,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Array:
    """Returns which pixels are erased, bool [b, height, width].

    Args:
      draws: [b, 3 + 2 * ERASE_ATTEMPTS] in [0, 1): whether, where, areas, aspects.
    """
    whether, place, share, ratio = jnp.split(draws, (1, 3, 3 + ERASE_ATTEMPTS), axis=1)
    pixels = (area[0] + share * (area[1] - area[0])) * height * width
    ratio = aspect[0] + ratio * (aspect[1] - aspect[0])
    heights, widths = jnp.round(jnp.sqrt(pixels * ratio)), jnp.round(jnp.sqrt(pixels / ratio))
    fits = (heights < height) & (widths < width)
    first = jnp.argmax(fits, axis=1, keepdims=True)
    h, w = jnp.take_along_axis(heights, first, 1), jnp.take_along_axis(widths, first, 1)
    top, left = (
        jnp.floor(place[:, :1] * (height - h + 1)),
        jnp.floor(place[:, 1:] * (width - w + 1)),
    )
    rows, columns = jnp.arange(height), jnp.arange(width)
    tall, wide = (rows >= top) & (rows < top + h), (columns >= left) & (columns < left + w)
    return (
        ((whether < probability) & fits.any(1, keepdims=True))[:, :, None]
        & tall[:, :, None]
        & wide[:, None, :]
    )


def _fill(keys: Array, out: Array, fill: str, mean: Sequence[float], std: Sequence[float]) -> Array:
    if fill == 'random':
        return jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, 0), out.shape[1:]))(keys)
    means = jnp.asarray(mean, jnp.float32)
    return {'mean': means, 'zero': jnp.zeros(3), 'black': -means / jnp.asarray(std, jnp.float32)}[
        fill
    ]


def _jitter(draws: Array, images: Array, amounts: tuple[float, float, float]) -> Array:
    """Changes brightness, contrast and saturation, each clipped to 0..255; returns float32.

    Brightness is scaled about 0, contrast about the image's mean grey, saturation about each
    pixel's grey.
    """
    factors = (1 + jnp.asarray(amounts) * (2 * draws - 1))[:, :, None, None, None]
    luma = jnp.asarray([0.299, 0.587, 0.114])
    out = jnp.clip(images.astype(jnp.float32) * factors[:, 0], 0, 255)
    grey = jnp.mean(out @ luma, axis=(1, 2))[:, None, None, None]
    out = jnp.clip(grey + factors[:, 1] * (out - grey), 0, 255)
    grey = (out @ luma)[..., None]
    return jnp.clip(grey + factors[:, 2] * (out - grey), 0, 255)


def _is_batch(key: Array) -> bool:
    """Returns whether `key` holds one key per image.

    A key is a scalar of a key type, or uint32 [2].
    """
    return key.ndim == (1 if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else 2)


def check(
    *,
    flip: bool,
    pad: int,
    erase_probability: float,
    erase_area: Sequence[float],
    erase_aspect: Sequence[float],
    erase_fill: str,
    colour_jitter: Sequence[float],
) -> None:
    """Checks the settings of `augment`, whose names they have.

    Raises:
      ValueError: one is outside its range; names it, its value, and what is expected.
    """
    if flip not in (True, False):
        raise ValueError(f'flip is {flip!r}; expected True or False')
    if not pad >= 0:
        raise ValueError(f'pad is {pad}; expected 0 or more pixels')
    if not 0 <= erase_probability <= 1:
        raise ValueError(f'erase_probability is {erase_probability}; expected 0..1')
    if not (_are_numbers(erase_area, 2) and 0 < erase_area[0] <= erase_area[1] < 1):
        raise ValueError(
            f'erase_area is {erase_area}; expected two shares of the image, 0 < low <= high < 1'
        )
    if not (_are_numbers(erase_aspect, 2) and 0 < erase_aspect[0] <= erase_aspect[1]):
        raise ValueError(f'erase_aspect is {erase_aspect}; expected two ratios, 0 < low <= high')
    if erase_fill not in FILLS:
        raise ValueError(f'erase_fill is {erase_fill!r}; expected one of {FILLS}')
    if not (_are_numbers(colour_jitter, 3) and all(0 <= x <= 1 for x in colour_jitter)):
        raise ValueError(
            f'colour_jitter is {colour_jitter}; expected brightness, contrast and saturation, each'
            ' 0..1'
        )


def _are_numbers(values: Sequence[float], count: int) -> bool:
    """Returns whether these are so many finite numbers."""
    if not isinstance(values, (tuple, list)) or len(values) != count:
        return False
    return all(isinstance(value, numbers.Real) and math.isfinite(value) for value in values)
