"""Decodes and resizes image files and part masks with Pillow."""

import struct
import zlib

import numpy as np
from PIL import Image

from jreid.imaging import upright

POINTER = b'version https://git-lfs'

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for files that are no readable image."""


class BadImageError(ValueError):
    """A file that is no readable image."""


def decode(path: str, size: tuple[int, int]) -> np.ndarray:
    """Decodes one image to uint8 [H, W, 3]: RGB, resized with Pillow's bilinear filter.

    The image is turned as its EXIF orientation says, and greys of 12 and 16 bits keep their range
    (`jreid.imaging.upright`).

    Raises:
      BadImageError: the file is missing, empty, truncated or no image, its pixels are
        floating-point or 32-bit, or it is so large that Pillow takes it for a decompression bomb.
    """
    height, width = size
    try:
        with Image.open(path) as image:
            _check_size(image)
            return np.asarray(upright(image).resize((width, height), Image.Resampling.BILINEAR))
    except UNREADABLE as error:
        raise BadImageError(f'{path}: {_reason(path) or error}') from error


def _reason(path: str) -> str:
    """Says what an unreadable file is, where that can be told, else ''."""
    try:
        with open(path, 'rb') as file:
            start = file.read(len(POINTER))
    except OSError as error:
        known = {
            FileNotFoundError: 'no such file',
            IsADirectoryError: 'a folder, expected an image',
        }
        return known.get(type(error), '')
    if not start:
        return 'empty file'
    return 'a pointer of Git LFS; git lfs pull fetches the image' if start == POINTER else ''


def _check_size(image: Image.Image) -> None:
    """Raises, before a pixel is read, for sizes above Pillow's limit.

    Below twice that limit, Pillow itself would only warn.
    """
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise BadImageError(
            f'{image.width} x {image.height} pixels, taken for a decompression bomb'
        )


def decode_mask(path: str, size: tuple[int, int]) -> np.ndarray:
    """Decodes one part mask to uint8 [H, W], resized by nearest neighbour.

    The numbers in the file are the classes (8-bit grey or palette).

    Raises:
      BadImageError: the file is missing, damaged, or of another kind of image.
    """
    try:
        with Image.open(path) as image:
            _check_size(image)
            if image.mode not in ('L', 'P'):
                raise BadImageError(
                    f"a mask of mode {image.mode}; expected 8-bit grey ('L') or palette ('P'), a"
                    " pixel's number its class"
                )
            return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST))
    except UNREADABLE as error:
        raise BadImageError(f'{path}: {error}') from error
