"""The ground and the wall behind a person.

They are ray cast with the figure's own camera, so that horizon and scale agree.
"""

import dataclasses

import numpy as np

from jreid.synthetic.light import GroundShade, Sun
from jreid.synthetic.scene import Camera, Frame
from jreid.synthetic.textures import (
    GROUND_SIDE,
    TEXELS_PER_METRE,
    WALL_HEIGHT,
    WALL_WIDTH,
    ground_texture,
    wall_texture,
)

_FAR = 1e9


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """The textures of a camera, one texel per row."""

    ground: np.ndarray
    wall: np.ndarray


def make_surroundings(camera: Camera) -> Surroundings:
    """Makes the textures of a camera; six cameras take 60-170 ms, so make them once."""
    return Surroundings(
        ground=ground_texture(camera.ground, camera.ground_tint, camera.key).reshape(-1, 3),
        wall=wall_texture(camera.wall, camera.key).reshape(-1, 3),
    )


@dataclasses.dataclass(frozen=True)
class View:
    """A box cut from the camera's image plane.

    Pixel (column, row) looks along the plane's (u, v) at unit distance.
    """

    centre: tuple[float, float]
    scale: tuple[float, float]  # pixels per unit of the image plane
    elevation: float
    distance: float
    target: float  # height in metres of the point that the camera looks at
    height: int
    width: int

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Projects points `[3, n]` to pixel column, pixel row and depth, each `[n]`."""
        u, v, depth = image_plane(points, self.elevation, self.distance, self.target)
        column = (u - np.float32(self.centre[0])) * np.float32(self.scale[0]) + np.float32(
            self.width / 2
        )
        row = np.float32(self.height / 2) - (v - np.float32(self.centre[1])) * np.float32(
            self.scale[1]
        )
        return column, row, depth


def image_plane(
    points: np.ndarray, elevation: float, distance: float, target: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes perspective coordinates u, v and depth, each `[n]`, of points `[3, n]`.

    The camera looks down at `target` metres above the origin.
    """
    cos, sin = np.float32(np.cos(elevation)), np.float32(np.sin(elevation))
    up = points[1] - np.float32(target)
    depth = np.float32(distance) - (up * sin + points[2] * cos)
    return points[0] / depth, (up * cos - points[2] * sin) / depth, depth


def render_background(
    surroundings: Surroundings,
    camera: Camera,
    frame: Frame,
    view: View,
    sun: Sun,
    shade: GroundShade,
) -> np.ndarray:
    """Renders linear light `[H, W, 3]` of ground and wall.

    A row of pixels shows one of the two: the wall above the line where they meet.
    """
    height, width = view.height, view.width
    u = ((np.arange(width) + 0.5 - width / 2) / view.scale[0] + view.centre[0]).astype(np.float32)
    v = -(np.arange(height) + 0.5 - height / 2) / view.scale[1] + view.centre[1]
    cos, sin = np.cos(view.elevation), np.sin(view.elevation)
    ray_y, ray_z = v * cos - sin, -v * sin - cos
    eye_y, eye_z = view.target + view.distance * sin, view.distance * cos
    to_ground = np.where(ray_y < -1e-4, eye_y / np.maximum(-ray_y, 1e-4), _FAR)
    to_wall = (camera.wall_distance * frame.wall_factor + eye_z) / np.maximum(-ray_z, 1e-4)
    on_ground = to_ground < to_wall
    ray = np.minimum(to_ground, to_wall).astype(np.float32)
    x, y, z = u[None] * ray[:, None], eye_y + ray_y * ray, (eye_z + ray_z * ray).astype(np.float32)
    column = ((x + np.float32(frame.place)) * TEXELS_PER_METRE).astype(np.int32)
    edge = int(np.argmax(on_ground)) if on_ground.any() else height
    out = np.empty((height, width, 3), np.float32)

    row = ((z[edge:] - 3 * frame.place) * TEXELS_PER_METRE).astype(np.int32) % GROUND_SIDE
    texel = (row * GROUND_SIDE)[:, None] + column[edge:] % GROUND_SIDE
    out[edge:] = surroundings.ground.take(texel, axis=0) * shade.light(x[edge:], z[edge:], sun)

    row = np.clip(y[:edge] * TEXELS_PER_METRE, 0, WALL_HEIGHT - 1).astype(np.int32)
    texel = (row * WALL_WIDTH)[:, None] + column[:edge] % WALL_WIDTH
    out[:edge] = surroundings.wall.take(texel, axis=0) * (
        sun.ambient * 0.8 + sun.direct * 0.45
    ).astype(np.float32)
    return out
