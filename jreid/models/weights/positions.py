"""The learned positions of a ViT's patches, which weights hold for one size of image."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jreid.models.weights.tensors import WeightsError

PLACES = ('[0]', '[1:]')
"""What `positions_apart` puts behind the name of a ViT's positions."""


def positions_apart(
    weights: Mapping[str, np.ndarray], names: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Takes a ViT's positions [1, 1 + patches, d] apart: the class token's [d], the patches'.

    A distilled DeiT's second token has no place here; its position is left out with it. Takes and
    gives a file's arrays, and its name -> the name without prefixes.
    """
    extra = 2 if 'dist_token' in names.values() else 1
    arrays, short = dict(weights), dict(names)
    for name, own in names.items():
        if own == 'pos_embed' and weights[name].ndim == 3 and weights[name].shape[1] > extra:
            array = arrays.pop(name)[0]
            for place, part in zip(PLACES, (array[0], array[extra:]), strict=True):
                arrays[name + place], short[name + place] = part, own + place
    return arrays, short


def fitted(path: str, positions: np.ndarray, grid: tuple[int, int]) -> tuple[Any, str]:
    """Returns the positions of a ViT's patches at the network's grid, and what was done to them.

    Args:
      path: of the file, for messages.
      positions: [h w, d] row by row, or [h, w, d].
      grid: rows and columns of the network's patches.

    Raises:
      WeightsError: the positions fit no grid, see `grid_of`.
    """
    try:
        old = grid_of(len(positions), grid) if positions.ndim == 2 else positions.shape[:2]
    except ValueError as error:
        raise WeightsError(f'{path}: {error}') from error
    positions = positions.reshape(*old, -1)
    if tuple(old) == tuple(grid):
        return positions, ''
    sizes = f'from {old[0]} x {old[1]} patches to {grid[0]} x {grid[1]}'
    return resize_positions(positions, grid), f'positions resized {sizes}'


def grid_of(count: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Returns (rows, columns) of `count` patches whose grid a weight file does not say.

    It is `grid` if that has as many, else a square, else the grid that is nearest to twice as high
    as wide (people's images). Raises ValueError where none is between 1 and 4 times as high.
    """
    if count == grid[0] * grid[1]:
        return grid
    side = round(count**0.5)
    if count == side * side:
        return side, side
    pairs = [(count // w, w) for w in range(1, side + 1) if count % w == 0]
    rows, columns = min(pairs, key=lambda pair: abs(pair[0] / pair[1] - 2))
    if rows > 4 * columns:
        raise ValueError(
            f'{count} positions of patches; expected {grid[0] * grid[1]} ({grid[0]} x {grid[1]}),'
            ' or as many as a grid has that is 1 to 4 times as high as wide'
        )
    return rows, columns


def resize_positions(positions: np.ndarray, grid: tuple[int, int]) -> Float[Array, 'i j d']:
    """Resizes the learned positions of patches [h, w, d] to another grid, (rows, columns).

    Bicubic and, where it becomes smaller, smoothed, as timm does. TransReID's program interpolates
    linearly.
    """
    return jax.image.resize(positions, (*grid, positions.shape[-1]), 'cubic')
