"""Light of sun and sky on surfaces, and the shade of bodies on each other and on the ground."""

import dataclasses

import numpy as np

from jreid.synthetic.scene import Camera, Frame

# Below it, shadows are invisible.
_LEAST_SUN = 0.12
# Coarse shadow map of the vertices, from the sun's view: cells per metre and size.
_MAP_CELLS, _MAP_ROWS, _MAP_COLUMNS = 22, 96, 72
# Grid of shadow on the ground, around the person: cells per metre, cells per side, metres.
_GROUND_CELLS, _GROUND_SIDE, _GROUND_HALF = 10, 64, 3.2
_SOLE_HEIGHT = 0.06


@dataclasses.dataclass(frozen=True)
class Sun:
    """The light of one image; colours are linear RGB times strength."""

    direction: np.ndarray  # [3], towards the sun
    direct: np.ndarray
    ambient: np.ndarray
    strength: float
    sky: float
    casts_shadows: bool


def make_sun(camera: Camera, frame: Frame) -> Sun:
    """Computes the light of one image."""
    height, azimuth = camera.sun_elevation, frame.sun_azimuth
    direction = np.array(
        [np.cos(height) * np.sin(azimuth), np.sin(height), np.cos(height) * np.cos(azimuth)],
        np.float32,
    )
    return Sun(
        direction=direction,
        direct=frame.sun * camera.sun_colour,
        ambient=frame.ambient * camera.ambient_colour,
        strength=frame.sun,
        sky=frame.ambient,
        casts_shadows=frame.sun > _LEAST_SUN,
    )


def sun_visibility(points: np.ndarray, sun: Sun) -> np.ndarray:
    """Computes the share `[n]` of the sun that reaches each vertex `[3, n]` past the others.

    It comes from a coarse shadow map.
    """
    if not sun.casts_shadows:
        return np.ones(points.shape[1], np.float32)
    x, y, z = sun.direction
    across = np.array([z, 0, -x], np.float32) / np.hypot(x, z)
    along = np.array([y * across[2], z * across[0] - x * across[2], -y * across[0]], np.float32)
    column = (
        ((across[0] * points[0] + across[2] * points[2] + np.float32(1.6)) * _MAP_CELLS)
        .astype(np.int32)
        .clip(1, _MAP_COLUMNS - 2)
    )
    row = (
        (
            (along[0] * points[0] + along[1] * points[1] + along[2] * points[2] + np.float32(1.4))
            * _MAP_CELLS
        )
        .astype(np.int32)
        .clip(1, _MAP_ROWS - 2)
    )
    height = x * points[0] + y * points[1] + z * points[2]
    cell, top = row * _MAP_COLUMNS + column, np.full(_MAP_ROWS * _MAP_COLUMNS, -9, np.float32)
    np.maximum.at(top, cell, height)
    beside = np.maximum.reduce([top[cell + step] for step in (-1, 1, -_MAP_COLUMNS, _MAP_COLUMNS)])
    blocker = np.maximum(top[cell], beside - np.float32(0.02))
    return np.clip(1 - (blocker - height - np.float32(0.07)) * 20, 0, 1)


@dataclasses.dataclass(frozen=True)
class GroundShade:
    """The light that the figures take from the ground.

    It is a soft blob about the feet, and the cast shadow on a grid.
    """

    feet: tuple[np.float32, np.float32]
    spread: tuple[np.float32, np.float32]
    cast: np.ndarray | None  # [64, 64] share of the sun that is blocked

    def light(self, x: np.ndarray, z: np.ndarray, sun: Sun) -> np.ndarray:
        """Computes the light `[h, w, 3]` on ground at `x [h, w]`, `z [h]`."""
        z = z[:, None]
        blob = np.exp(-0.5 * ((x - self.feet[0]) / self.spread[0]) ** 2) * np.exp(
            -0.5 * ((z - self.feet[1]) / self.spread[1]) ** 2
        )
        left = 1 - np.float32(0.65) * blob
        if self.cast is None:
            return left[..., None] * (sun.ambient + sun.direct * sun.direction[1]).astype(
                np.float32
            )
        column = (
            ((x + np.float32(_GROUND_HALF)) * _GROUND_CELLS)
            .astype(np.int32)
            .clip(0, _GROUND_SIDE - 1)
        )
        row = (
            ((z + np.float32(_GROUND_HALF)) * _GROUND_CELLS)
            .astype(np.int32)
            .clip(0, _GROUND_SIDE - 1)
        )
        lit = 1 - self.cast[row, column]
        return left[..., None] * sun.ambient.astype(np.float32) + lit[..., None] * (
            sun.direct * sun.direction[1]
        ).astype(np.float32)


def make_ground_shade(points: np.ndarray, sun: Sun) -> GroundShade:
    """Computes the shade of figures with vertices `[3, n]`.

    It is projected along the sun and blurred by one cell.
    """
    x, y, z = points
    near = y < _SOLE_HEIGHT
    feet, spread = (
        (x[near].mean(), z[near].mean()),
        (x[near].std() + np.float32(0.10), z[near].std() + np.float32(0.10)),
    )
    if not sun.casts_shadows:
        return GroundShade(feet, spread, None)
    slope_x, slope_z = sun.direction[0] / sun.direction[1], sun.direction[2] / sun.direction[1]
    column = (
        ((x - y * slope_x + np.float32(_GROUND_HALF)) * _GROUND_CELLS)
        .astype(np.int32)
        .clip(1, _GROUND_SIDE - 2)
    )
    row = (
        ((z - y * slope_z + np.float32(_GROUND_HALF)) * _GROUND_CELLS)
        .astype(np.int32)
        .clip(1, _GROUND_SIDE - 2)
    )
    cast = np.zeros((_GROUND_SIDE, _GROUND_SIDE), np.float32)
    cast[row, column] = 1
    cast[1:-1] = cast[:-2] + cast[1:-1] + cast[2:]
    cast[:, 1:-1] = cast[:, :-2] + cast[:, 1:-1] + cast[:, 2:]
    cast = np.minimum(cast * np.float32(0.18), 1)
    # The rim is cleared, since it collects all shadow outside the grid.
    cast[[0, 1, -1, -2]] = 0
    cast[:, [0, 1, -1, -2]] = 0
    return GroundShade(feet, spread, cast)
