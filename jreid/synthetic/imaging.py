"""Applies a camera to a linear image: blur, exposure, white balance, noise, tone and JPEG.

The resize of the detected box comes last.
"""

import functools
import io

import numpy as np
from PIL import Image

from jreid.synthetic.draws import uniforms
from jreid.synthetic.scene import Camera, Frame

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_GRAIN_KEY, _GRAIN = 991, 256
# With 0.02, black coats had white grain.
_NOISE_FLOOR = np.float32(0.006)
_MIN_HEIGHT, _MAX_HEIGHT = 32, 192


@functools.cache
def _grain() -> np.ndarray:
    """Makes tileable noise `[512, 512, 3]` of about unit deviation, partly shared by the channels.

    Each image reads it at an offset of its own.
    """
    noise = (
        (uniforms(_GRAIN * _GRAIN * 9, _GRAIN_KEY).reshape(3, _GRAIN, _GRAIN, 3).sum(0) - 1.5) * 2.0
    ).astype(np.float32)
    noise = (noise * 0.6 + noise.mean(-1, keepdims=True) * 1.632).astype(np.float32)
    return np.tile(noise, (2, 2, 1))


@functools.lru_cache(4096)
def _taps(n_out: int, n_in: int, blur: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Computes indices and weights `[k, n_out]` of a resampling.

    The kernel is a Gaussian of `blur` output pixels, or, with None, a triangle.
    """
    centre, ratio = (np.arange(n_out) + 0.5) * n_in / n_out, n_in / n_out
    if blur is None:
        reach = int(np.ceil(max(1, ratio)))
    else:
        deviation = np.hypot(blur, 0.30) * ratio
        reach = int(np.ceil(2.6 * deviation))
    index = np.floor(centre)[None].astype(int) + np.arange(-reach, reach + 1)[:, None]
    offset = index + 0.5 - centre
    weight = (
        np.maximum(0, 1 - np.abs(offset) / max(1, ratio))
        if blur is None
        else np.exp(-0.5 * (offset / deviation) ** 2)
    )
    weight = np.where((index >= 0) & (index < n_in), weight, 0)
    useful = weight.sum(1) > 1e-6
    return index.clip(0, n_in - 1)[useful], (weight / weight.sum(0)).astype(np.float32)[useful]


def _resample_rows(x: np.ndarray, taps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    index, weight = taps
    out = x.take(index[0], axis=0) * weight[0][:, None]
    for k in range(1, len(index)):
        out += x.take(index[k], axis=0) * weight[k][:, None]
    return out


def _resample(image: np.ndarray, vertical: tuple, horizontal: tuple) -> np.ndarray:
    """Resamples the rows, then the columns of `[H, W, 3]`.

    It uses multiply-adds only, as the bytes of a matrix product depend on BLAS.
    """
    width = image.shape[1]
    x = _resample_rows(image.reshape(len(image), -1), vertical)
    height = len(x)
    x = _resample_rows(
        x.reshape(height, width, 3).transpose(1, 0, 2).reshape(width, -1), horizontal
    )
    return np.ascontiguousarray(x.reshape(-1, height, 3).transpose(1, 0, 2))


@functools.lru_cache(4096)
def _tone(gamma: float, contrast: float) -> np.ndarray:
    """Computes the response `[4096]` to linear light in [0, 4].

    It has a filmic shoulder, a gamma, and contrast about 0.45.
    """
    x = np.linspace(0, 4, 4096)
    x = np.clip(x / (x + 0.55) * 1.45, 0, 1) ** (1 / gamma)
    return ((x - 0.45) * contrast + 0.45).astype(np.float32)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer)).astype(np.float32)


def photograph(
    light: np.ndarray, frame: Frame, camera: Camera, size: tuple[int, int]
) -> np.ndarray:
    """Returns the uint8 image `[*size, 3]` that the camera takes of linear light `[H, W, 3]`.

    Blur, noise and JPEG act at the frame's own resolution, before the resize to `size`, as in boxes
    cut from a video.
    """
    height = int(np.clip(frame.resolution, _MIN_HEIGHT, _MAX_HEIGHT)) // 2 * 2
    width = height // 2
    # Rounding lets the images of a camera share cached taps and curves.
    vertical = _taps(height, light.shape[0], round(float(camera.blur), 2))
    horizontal = _taps(
        width,
        light.shape[1],
        round(float(np.hypot(camera.blur, round(frame.motion_blur * 2) * 0.3)), 2),
    )
    x = _resample(light, vertical, horizontal)
    x *= (frame.exposure * frame.white_balance).astype(np.float32)
    x += np.float32(camera.haze)
    row, column = frame.noise_key % _GRAIN, (frame.noise_key // _GRAIN) % _GRAIN
    x += (
        _grain()[row : row + height, column : column + width]
        * np.sqrt(x + _NOISE_FLOOR)
        * np.float32(frame.noise)
    )
    x = _tone(round(float(camera.gamma), 2), round(float(camera.contrast), 2))[
        np.clip(x * np.float32(1023.75), 0, 4095).astype(np.int16)
    ]
    luma = (x[..., 0] * LUMA[0] + x[..., 1] * LUMA[1] + x[..., 2] * LUMA[2])[..., None]
    x = luma + (x - luma) * np.float32(camera.saturation)
    x = _through_jpeg((np.clip(x, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8), frame.jpeg)
    x = _resample(x, _taps(size[0], height, None), _taps(size[1], width, None))
    return np.clip(x + np.float32(0.5), 0, 255).astype(np.uint8)
