"""Renders one image before the camera's imaging, with the mask of the body's parts.

Figures are framed, rasterised and lit, on their background.
"""

import dataclasses

import numpy as np

from jreid.synthetic.background import Surroundings, View, image_plane, render_background
from jreid.synthetic.body import Figure
from jreid.synthetic.colours import hsv_to_linear
from jreid.synthetic.light import Sun, make_ground_shade, make_sun, sun_visibility
from jreid.synthetic.materials import Surface, albedo
from jreid.synthetic.mesh import Layer, Part
from jreid.synthetic.noise import SIDE, fine, folds, folds_and_creases
from jreid.synthetic.pose import skin
from jreid.synthetic.raster import rasterise
from jreid.synthetic.scene import Camera, Frame

# From this zoom on, the box cuts one end of the body off.
_TRUNCATED = 1.12


@dataclasses.dataclass(frozen=True)
class Actor:
    """A figure in its pose and place; the first of an image is its subject."""

    figure: Figure
    transforms: np.ndarray  # [21, 3, 4]
    yaw: float
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _frame_subject(
    points: np.ndarray, frame: Frame, body_height: float, height: int, width: int
) -> View:
    """Returns the box around the subject's vertices `[3, n]`, as a detector would draw it.

    It is jittered, and sometimes cuts the subject.
    """
    target = body_height / 2
    u, v, _ = image_plane(points, frame.elevation, frame.distance, target)
    left, right, low, high = u.min(), u.max(), v.min(), v.max()
    box_height = (high - low) * 1.05 / frame.zoom
    box_width = max(box_height * 0.5 * frame.aspect, (right - left) * 0.85)
    centre_u = (left + right) / 2 + frame.shift[0] * box_height * 0.8
    centre_v = (low + high) / 2
    if frame.zoom > _TRUNCATED:
        centre_v += (0.5 if frame.lose_feet else -0.5) * (high - low - box_height)
    else:
        centre_v += frame.shift[1] * box_height
    return View(
        (centre_u, centre_v),
        (width / box_width, height / box_height),
        frame.elevation,
        frame.distance,
        target,
        height,
        width,
    )


def _label_parts(
    layer: np.ndarray, part: np.ndarray, x: np.ndarray, arm: np.ndarray, leg: np.ndarray
) -> np.ndarray:
    """Returns the mask class `[p]` of every pixel.

    Along the limbs it depends on the pixel's own place, elsewhere on its vertex.
    """
    tights, skirt = layer == Layer.TIGHTS, layer == Layer.SKIRT
    on_leg = np.where(
        leg < 1, Part.UPPER_LEG, np.where((leg < 1.9) | skirt, Part.LOWER_LEG, Part.FOOT)
    )
    trunk = np.where(leg < 0.18 - 1.6 * np.abs(x), Part.TORSO, on_leg)
    on_arm = np.where(arm < 1, Part.UPPER_ARM, Part.LOWER_ARM)
    return np.where(tights | skirt, np.where((arm > 0) & tights, on_arm, trunk), part)


def _fold(normal: np.ndarray, s: Surface, looseness: float, offset: int) -> np.ndarray:
    """Tilts normals `[3, p]` on cloth by noise that runs along and around the limbs."""
    on_arm = s.arm > 0
    along = np.where(on_arm, s.arm * np.float32(0.3) + 1, s.y)
    around = np.where(on_arm, s.z * np.float32(1.2), s.x * np.float32(1.3) + s.z * np.float32(0.7))
    i, j = (
        ((along * 210).astype(np.int32) + offset) % SIDE,
        ((around * 190).astype(np.int32) + 3 * offset) % SIDE,
    )
    cloth = (s.layer == Layer.SKIRT) | ((s.layer == Layer.TIGHTS) & (s.part != Part.FOOT))
    strength = cloth * np.float32(0.17 * (0.6 + 14 * looseness))
    x, y, z = normal
    return np.stack(
        [
            x + strength * np.float32(0.6) * folds()[j, i],
            y + strength * folds_and_creases()[i, j],
            z,
        ]
    )


def _shade(
    colour: np.ndarray,
    normal: np.ndarray,
    folded: np.ndarray,
    s: Surface,
    height: np.ndarray,
    lit: np.ndarray,
    sun: Sun,
    elevation: float,
) -> np.ndarray:
    """Computes linear light `[p, 3]` of albedo `[p, 3]`.

    It sums hemisphere ambient light, darker near the ground and between the limbs, the sun, and a
    faint rim.
    """
    limb = (s.part >= Part.UPPER_ARM) & (s.part <= Part.LOWER_LEG)
    between = np.where(
        limb, 1 - np.float32(0.3) * np.clip(-np.sign(s.x) * normal[0], 0, 1), np.float32(1)
    )
    x, y, z = folded
    scale = 1 / (np.sqrt(x * x + y * y + z * z) + np.float32(1e-6))
    facing = (y * np.float32(np.sin(elevation)) + z * np.float32(np.cos(elevation))) * scale
    scale = np.where(facing < -0.2, -scale, scale)  # the inside of a skirt
    x, y, z = x * scale, y * scale, z * scale
    ambient = (
        (np.float32(0.72) + np.float32(0.28) * np.clip(height * 2, 0, 1))
        * between
        * (np.float32(0.62) + np.float32(0.38) * y)
    )
    direct = np.clip(x * sun.direction[0] + y * sun.direction[1] + z * sun.direction[2], 0, 1) * lit
    light = ambient[:, None] * sun.ambient.astype(np.float32) + direct[:, None] * sun.direct.astype(
        np.float32
    )
    rim = np.clip(1 - np.abs(facing), 0, 1) ** 4 * np.float32(0.03 * sun.sky)
    return colour * light + rim[:, None]


def _joined(actors: list[Actor], name: str) -> np.ndarray:
    """Concatenates an array of the figures."""
    return np.concatenate([getattr(actor.figure, name) for actor in actors])


def _render_figures(
    actors: list[Actor], points: np.ndarray, normals: np.ndarray, view: View, sun: Sun, frame: Frame
) -> tuple[np.ndarray, ...]:
    """Returns the visible pixels `[p]`, their light `[p, 3]` and mask class `[p]`."""
    starts = np.cumsum([0] + [len(actor.figure.layer) for actor in actors])
    triangles = np.concatenate(
        [actor.figure.triangles + start for actor, start in zip(actors, starts[:-1], strict=True)]
    )
    pixel, triangle, u, v = rasterise(
        *view.project(points), triangles, _joined(actors, 'two_sided'), view.height, view.width
    )
    w = 1 - u - v
    corner = triangles[triangle]
    attribute = np.concatenate(
        [
            _joined(actors, 'fields'),
            normals.T,
            sun_visibility(points, sun)[:, None],
            points[1][:, None],
        ],
        1,
    )
    value = (
        attribute[corner[:, 0]] * u[:, None]
        + attribute[corner[:, 1]] * v[:, None]
        + attribute[corner[:, 2]] * w[:, None]
    )
    x, y, z, arm, leg, normal_x, normal_y, normal_z, lit, height = np.ascontiguousarray(value.T)
    nearest = np.where(
        (u >= v) & (u >= w), corner[:, 0], np.where(v >= w, corner[:, 1], corner[:, 2])
    )
    layer = _joined(actors, 'layer')[nearest]
    part = _label_parts(layer, _joined(actors, 'part')[nearest], x, arm, leg)
    surface = Surface(layer, part, x, y, z, arm, leg)
    colour = np.empty((len(pixel), 3), np.float32)
    owner = np.searchsorted(starts, nearest, side='right') - 1
    for k, actor in enumerate(actors):
        rows = np.flatnonzero(owner == k)
        colour[rows] = albedo(actor.figure.person, surface.take(rows))
    normal = np.stack([normal_x, normal_y, normal_z])
    folded = _fold(normal, surface, actors[0].figure.person.top.looseness, int(frame.fold * SIDE))
    return (
        pixel,
        _shade(colour, normal, folded, surface, height, lit, sun, view.elevation),
        np.where(owner == 0, part, Part.BACKGROUND),
    )


def _occlude(image: np.ndarray, mask: np.ndarray, frame: Frame) -> None:
    """Draws a pole or something low in front of the person, in place."""
    height, width = mask.shape
    if frame.occlusion == 'pole':
        wide = int(width * (0.06 + 0.12 * frame.occlusion_size))
        left = int(frame.occlusion_place * (width - wide))
        round_shade = 0.3 + 0.7 * np.sin(np.linspace(0.2, 2.9, wide))[None, :, None]
        image[:, left : left + wide] = (
            (0.08 + 0.4 * frame.occlusion_colour) * round_shade * frame.ambient
        )
        mask[:, left : left + wide] = Part.BACKGROUND
    elif frame.occlusion == 'low':
        top = int(height * (1 - 0.10 - 0.22 * frame.occlusion_size))
        tone = hsv_to_linear(
            frame.occlusion_colour * 360,
            0.3 * frame.occlusion_place,
            0.2 + 0.4 * frame.occlusion_place,
        )
        rows, columns = np.arange(height - top)[:, None] % SIDE, np.arange(width) % SIDE
        image[top:] = tone * frame.ambient * (1 + 0.1 * fine()[rows, columns, None])
        image[top : top + max(1, height // 80)] *= 1.5
        mask[top:] = Part.BACKGROUND


def render(
    actors: list[Actor],
    camera: Camera,
    surroundings: Surroundings,
    frame: Frame,
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Renders linear light `[H, W, 3]` and the mask `[H, W]` uint8 of the first actor's parts.

    The other actors belong to the background.
    """
    posed = [skin(actor.figure, actor.transforms, actor.yaw) for actor in actors]
    places = [
        points + np.array(actor.offset, np.float32)[:, None]
        for (points, _), actor in zip(posed, actors, strict=True)
    ]
    points, normals = (
        np.concatenate(places, 1),
        np.concatenate([normals for _, normals in posed], 1),
    )
    view = _frame_subject(places[0], frame, actors[0].figure.person.body.height, height, width)
    sun = make_sun(camera, frame)
    image = render_background(
        surroundings, camera, frame, view, sun, make_ground_shade(points, sun)
    )
    mask = np.zeros((height, width), np.uint8)
    pixel, light, part = _render_figures(actors, points, normals, view, sun, frame)
    image.reshape(-1, 3)[pixel] = light
    mask.reshape(-1)[pixel] = part
    _occlude(image, mask, frame)
    return image, mask
