"""Features of any images by a run's model: paths, Pillow images, arrays, generators."""

import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from jreid.data.decoding import decode
from jreid.imaging import upright
from jreid.retrieval import unit

One = str | pathlib.Path | np.ndarray | jax.Array | Image.Image
Images = One | Iterable[One]
"""One image or several: the path of a file, a Pillow image, or uint8 RGB [H, W, 3] of any size.

Arrays of other libraries on the CPU, such as PyTorch's tensors, are read as numpy's.
"""
Embed = Callable[[np.ndarray], Any]
"""uint8 images [B, H, W, 3] of the model's size -> features [B, D]."""


class FeatureModel:
    """Computes a run's features of images; `jreid.load_run` makes it.

        model = jreid.load_run('runs/demo')
        features = model(['a.jpg', 'b.jpg'])      # float32 [2, model.dim]
        distance = jreid.retrieval.pairwise(features[:1], features[1:])

    It takes one image or several: paths, Pillow images, uint8 RGB arrays [H, W, 3] or
    [N, H, W, 3], or an iterable that mixes them. Of a generator, only one batch is in memory.
    Arrays may be those of other libraries on the CPU, such as PyTorch's tensors. Images of another
    size are resized as in training; those of files and of Pillow are turned upright by their EXIF
    orientation. Grey arrays [H, W] are taken for RGB.

    It unpacks as `embed, config = jreid.load_run(...)`.

    Attributes:
      dim: D, the length of a feature.
      image_size: (height, width) in pixels, which images are resized to.
      config: the run's config.
      batch: images per step. A step's images are padded to a power of two, so that one image does
        not pay for a whole batch and at most log2(batch) + 1 programs are compiled.
    """

    def __init__(
        self,
        function: Embed,
        *,
        dim: int,
        image_size: tuple[int, int],
        config: ConfigDict,
        normalise: bool,
        batch: int,
    ):
        if batch < 1:
            raise ValueError(f'batch is {batch}; expected 1 or more images per step')
        self.dim, self.image_size, self.config, self.batch = dim, image_size, config, batch
        self._function, self._normalise = function, normalise

    def embed(self, images: Images) -> np.ndarray:
        """Returns float32 features [N, dim]; [0, dim] for no image.

        They have unit length where the system compares them so. Compare them by Euclidean distance.

        Raises:
          BadImageError: a file is no image that can be read.
          ValueError: an array that is no uint8 RGB image, with its place in the sequence.
          TypeError: something that is no image.
        """
        parts = []
        several = enumerate(each(images))
        while block := list(itertools.islice(several, self.batch)):
            array = np.stack([pixels(image, self.image_size, place) for place, image in block])
            # One image would otherwise pay for a whole batch; few sizes keep compilations few.
            size = min(1 << (len(array) - 1).bit_length(), self.batch)
            padded = np.zeros((size, *array.shape[1:]), np.uint8)
            padded[: len(array)] = array
            parts.append(np.asarray(self._function(padded))[: len(array)])
        if not parts:
            return np.zeros((0, self.dim), np.float32)
        features = np.concatenate(parts).astype(np.float32, copy=False)
        return unit(features) if self._normalise else features

    __call__ = embed

    def __iter__(self) -> Iterator[Any]:
        """Unpacks as (embed, config)."""
        return iter((self.embed, self.config))

    def __repr__(self) -> str:
        sizes = f'dim={self.dim}, image_size={self.image_size}'
        return f'FeatureModel({self.config.variant}, {sizes})'


def each(images: Images) -> Iterator[One]:
    """Yields the images one by one; one alone is a sequence of one.

    Raises:
      TypeError: neither an image nor an iterable of images.
      ValueError: an array of another number of dimensions.
    """
    images = _array(images, 'images are')
    if isinstance(images, str | os.PathLike | Image.Image):
        yield images
    elif isinstance(images, np.ndarray | jax.Array):
        array = np.asarray(images)
        words = array.dtype.kind in 'UO' or array.size == 0
        if array.ndim == 2 and not words or array.ndim == 3 and array.shape[-1] in (1, 3):
            yield array
        elif array.ndim == 4 or (words and array.ndim == 1):
            yield from array
        elif array.size:
            raise ValueError(
                f'an array {array.shape}; expected one image [H, W, 3], several [N, H, W, 3], or a'
                f' list of images{_turned(array)}'
            )
    elif isinstance(images, Iterable) and not isinstance(images, bytes | dict):
        yield from images
    else:
        raise TypeError(
            f'images are a {type(images).__name__}; expected paths, Pillow images or uint8 RGB'
            ' arrays, one or several'
        )


def _array(value: Any, what: str) -> Any:
    """Returns an array of another library, such as a PyTorch tensor, as numpy's; others as is.

    Raises:
      TypeError: it cannot be read, since it lies on a device or has a gradient.
    """
    if isinstance(value, str | os.PathLike | np.ndarray | jax.Array | Image.Image):
        return value
    try:
        if hasattr(value, '__array__'):
            return np.asarray(value)
        return np.from_dlpack(value) if hasattr(value, '__dlpack__') else value
    # Each library has errors of its own kind.
    except Exception as error:
        raise TypeError(
            f'{what} a {type(value).__name__} that cannot be read as an array ({error}); expected'
            " one on the CPU without a gradient, such as PyTorch's tensor.detach().cpu()"
        ) from error


def _turned(array: np.ndarray) -> str:
    """Says what to do with channels that come first, as PyTorch has them."""
    if array.ndim < 3 or array.shape[-3] not in (1, 3) or array.shape[-1] in (1, 3):
        return ''
    return '; channels come last: numpy.moveaxis(array, -3, -1)'


def pixels(image: Any, size: tuple[int, int], place: int = 0) -> np.ndarray:
    """Returns one image as uint8 [H, W, 3] of the given size.

    Args:
      image: a path, a Pillow image or an array.
      size: height and width in pixels.
      place: of the image in the sequence, for errors.

    Raises:
      ValueError: an array of another type or shape; BadImageError for files.
      TypeError: something that is no image.
    """
    image = _array(image, f'image {place} is')
    if isinstance(image, str | os.PathLike):
        return decode(os.fspath(image), size)
    if isinstance(image, np.ndarray | jax.Array):
        array = np.asarray(image)
        if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 1):
            array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or not array.size:
            raise ValueError(
                f'image {place} is {array.dtype} {array.shape}; expected uint8 RGB [H, W, 3], 0 to'
                ' 255 (numbers from 0 to 1 times 255; BGR of OpenCV as image[..., ::-1])'
                f'{_turned(array)}'
            )
        if array.shape[:2] == tuple(size):
            return array
        image = Image.fromarray(np.ascontiguousarray(array))
    if not isinstance(image, Image.Image):
        raise TypeError(
            f'image {place} is a {type(image).__name__}; expected a path, a Pillow image or a uint8'
            ' RGB array'
        )
    return np.asarray(upright(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
