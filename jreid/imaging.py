"""Turns opened images upright and to 8-bit RGB: the one way in which every room opens images."""

import struct

import numpy as np
from PIL import Image

# Pillow's own ImageOps.exif_transpose writes the EXIF data anew, and fails where it is damaged.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> how the stored pixels are turned."""


def upright(image: Image.Image) -> Image.Image:
    """Returns an image in RGB with 8 bits per channel, turned as its EXIF orientation says.

    Greys of more than 8 bits keep their range: of 16 bits the upper 8 are kept, of 12 bits those
    above the lowest 4. An image has 12 bits where no pixel is above 4,095, and 8 where none is
    above 255, since cameras write either into files of 16 bits.

    Raises:
      ValueError: the pixels are floating-point, negative or above 65,535.
    """
    # Pillow turns a TIFF file when it reads the pixels, and takes the orientation out then.
    image.load()
    turn = TURNS.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    return _eight_bits(image).convert('RGB')


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 (upright) where there is none or the EXIF is damaged."""
    try:
        return int(image.getexif().get(0x0112, 1))
    # Pixels that can be read are worth more than their EXIF data, which a camera may garble.
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error, UserWarning):
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Converts grey of more than 8 bits to 8; returns other images unchanged.

    Pillow's own conversion would clip instead of scaling.
    """
    if image.mode == 'F':
        raise ValueError('floating-point pixels; expected 8 or 16 bits per channel')
    if image.mode != 'I' and not image.mode.startswith('I;16'):
        return image
    pixels = np.asarray(image).astype(np.int64)
    lowest, highest = int(pixels.min()), int(pixels.max())
    if lowest < 0 or highest > 65535:
        raise ValueError(f'pixels from {lowest} to {highest}; expected 8 or 16 bits per channel')
    shift = 0 if highest < 1 << 8 else 4 if highest < 1 << 12 else 8
    return Image.fromarray((pixels >> shift).astype(np.uint8))
