"""Tileable noise tables, looked up by materials, folds and backgrounds."""

import functools

import numpy as np

from jreid.synthetic.draws import uniforms

SIDE = 256
_KEY = 777


def _frequency(height: int, width: int) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width)


def _filtered(gain: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
    white = uniforms(gain.size, *key).reshape(gain.shape) - 0.5
    out = np.fft.ifft2(np.fft.fft2(white) * gain).real
    out -= out.mean()
    return (out / out.std()).astype(np.float32)


def fractal(height: int, width: int, slope: float, *key: int) -> np.ndarray:
    """Makes noise `[height, width]` with spectrum 1 / f^slope, zero mean, unit deviation."""
    frequency = _frequency(height, width)
    frequency[0, 0] = 1
    return _filtered(frequency**-slope, key)


def band(height: int, width: int, low: float, high: float, *key: int) -> np.ndarray:
    """Makes noise `[height, width]` between two frequencies, zero mean, unit deviation.

    The frequencies are in cycles per table.
    """
    frequency = _frequency(height, width)
    return _filtered(
        np.exp(-((frequency / high) ** 2)) * (1 - np.exp(-((frequency / low) ** 2))), key
    )


@functools.cache
def fine() -> np.ndarray:
    """Makes the grain of fabric and hair, `[256, 256]`."""
    return fractal(SIDE, SIDE, 0.6, _KEY, 3)


@functools.cache
def folds() -> np.ndarray:
    """Makes the large folds of cloth, `[256, 256]`."""
    return band(SIDE, SIDE, 2, 9, _KEY, 1)


@functools.cache
def creases() -> np.ndarray:
    """Makes the small folds of cloth, `[256, 256]`; above 0.35 also the blotches of camouflage."""
    return band(SIDE, SIDE, 4, 22, _KEY, 2)


@functools.cache
def folds_and_creases() -> np.ndarray:
    """Makes both kinds of folds, `[256, 256]`."""
    return folds() + 0.5 * creases()
