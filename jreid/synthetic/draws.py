"""Keyed random numbers: a value depends on its key and its name alone.

It does not depend on earlier draws. Images are therefore the same in any order and batch, and a new
parameter leaves all the others unchanged.
"""

import functools
import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar('T')

_MASK = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_UNIT = 2.0**-53


def _fold(key: Sequence[int]) -> int:
    """Folds integers to a 64-bit state: two xor-multiply rounds each.

    The constants are those of splitmix64.
    """
    state = _GOLDEN
    for part in key:
        state = (state ^ (int(part) & _MASK)) * _MIX_1 & _MASK
        state = (state ^ (state >> 29)) * _MIX_2 & _MASK
        state ^= state >> 32
    return state


@functools.cache
def _slot(name: str) -> int:
    """Returns the fixed place of a name in the 64-bit sequence of a key."""
    return zlib.crc32(name.encode()) * _MIX_2 & _MASK


def uniforms(count: int, *key: int) -> np.ndarray:
    """Draws `[count]` doubles in [0, 1): splitmix64 from the folded key.

    Source: Steele, Lea and Flood 2014.
    """
    place = np.arange(1, count + 1, dtype=np.uint64)
    # Arithmetic on uint64 arrays wraps around silently, as splitmix64 requires.
    x = np.uint64(_fold(key)) + place * np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MIX_1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MIX_2)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * _UNIT


class Draws:
    """The named random parameters of one key.

    For example, `Draws(seed, domain.key, 1, identity).uniform('height', 1.6, 1.9)`.
    """

    def __init__(self, *key: int) -> None:
        self._state = _fold(key)

    def _unit(self, name: str, place: int = 1) -> float:
        x = (self._state + _slot(name) + place * _GOLDEN) & _MASK
        x = (x ^ (x >> 30)) * _MIX_1 & _MASK
        x = (x ^ (x >> 27)) * _MIX_2 & _MASK
        return ((x ^ (x >> 31)) >> 11) * _UNIT

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> float:
        """Draws a float in [low, high)."""
        return low + (high - low) * self._unit(name)

    def flag(self, name: str, probability: float) -> bool:
        """Draws True with the given probability."""
        return self._unit(name) < probability

    def choice(self, name: str, values: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """Draws one of the values; the weights need not sum to one."""
        if weights is None:
            return values[int(self._unit(name) * len(values))]
        edges = np.cumsum(weights)
        place = int(np.searchsorted(edges, self._unit(name) * edges[-1], side='right'))
        return values[min(place, len(values) - 1)]

    def normal(self, name: str, deviation: float = 1.0) -> float:
        """Draws a nearly Gaussian number, bounded by 3 deviations.

        It is the sum of three uniforms (Irwin-Hall).
        """
        return (
            (self._unit(name, 1) + self._unit(name, 2) + self._unit(name, 3) - 1.5)
            * 2.0
            * deviation
        )

    def order(self, name: str, count: int) -> list[int]:
        """Draws a permutation of 0 to count - 1."""
        return sorted(range(count), key=lambda place: self._unit(name, place + 1))

    def integer(self, name: str, bound: int = 2**30) -> int:
        """Draws an int in [0, bound)."""
        return int(self._unit(name) * bound)
