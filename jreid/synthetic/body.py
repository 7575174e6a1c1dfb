"""Builds a person's figure: the mesh, blended to their build and dressed by displacement.

Bags, hats and long hair are unit meshes placed on it.
"""

import dataclasses

import numpy as np

from jreid.synthetic.identity import Body, Identity
from jreid.synthetic.mesh import BALL, BOX, Bone, Layer, Mesh, Part, load_mesh
from jreid.synthetic.wardrobe import Item

_BONES_PER_VERTEX = 4
# If the smooth layer lay closer to the skin, hands and neck would pierce it.
_BARE_CLEARANCE = 0.004


@dataclasses.dataclass(frozen=True)
class Figure:
    """A dressed person at rest; only the vertices in use."""

    person: Identity
    points: np.ndarray  # [n, 3] metres
    normals: np.ndarray  # [n, 3]
    triangles: np.ndarray  # [t, 3]
    two_sided: np.ndarray  # [t]; skirts show their inside too
    joints: np.ndarray  # [21, 3]
    layer: np.ndarray  # [n]
    part: np.ndarray  # [n]
    fields: np.ndarray  # [n, 5]: canonical x, y, z, place along the arm, along the leg
    bones: np.ndarray  # [n, 4]
    weights: np.ndarray  # [n, 4]
    touches_ground: np.ndarray  # [n]


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Interpolates from 0 below `low` to 1 above `high` by a cubic."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def above_scalp(position: np.ndarray) -> np.ndarray:
    """Computes the signed distance `[n]`, in metres, into the hairy region of the head.

    It takes canonical positions `[n, 3]`.
    """
    return np.minimum(
        (position[..., 1] - 1.515) + 0.62 * (0.085 - position[..., 2]) - 0.035,
        position[..., 1] - 1.475,
    )


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Computes unit normals `[n, 3]` that point outwards.

    They are summed by bincount, so that no BLAS influences the pixels.
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    normal = np.cross(c - a, b - a)
    total = np.stack(
        [
            np.bincount(triangles.ravel(), np.repeat(normal[:, k], 3), minlength=len(points))
            for k in range(3)
        ],
        1,
    )
    return (total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)).astype(np.float32)


def _blend(mesh: Mesh, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Blends points and joints of the unclothed body and scales them to its height."""
    share = np.zeros(6)
    share[1:] = (
        max(body.weight, 0) * 0.38,
        max(-body.weight, 0) * 0.8,
        body.muscle * 0.5,
        body.old,
        body.child,
    )
    share[0] = 1 - share[1:].sum()
    mix = body.gender_mix
    points = sum(
        c * ((1 - mix) * woman + mix * man)
        for c, woman, man in zip(share, mesh.shapes[:6], mesh.shapes[6:], strict=True)
    )
    joints = sum(
        c * ((1 - mix) * woman + mix * man)
        for c, woman, man in zip(share, mesh.joints[:6], mesh.joints[6:], strict=True)
    )
    scale = body.height / points[mesh.layer[: mesh.body_size] == Layer.HEAD, 1].max()
    return points * scale, joints * scale


def _clothes_thickness(mesh: Mesh, person: Identity) -> np.ndarray:
    """Computes how far clothes, shoes, hair and hats lift each body vertex along its normal.

    Returns:
      Metres `[n]`.
    """
    n = mesh.body_size
    layer, part, arm, leg, position = (
        mesh.layer[:n],
        mesh.part[:n],
        mesh.arm[:n],
        mesh.leg[:n],
        mesh.position[:n],
    )
    top, bottom, hat = person.top, person.bottom, person.carried.hat
    off_arm = arm <= 0
    shirt = smoothstep(-leg, -top.hem - 0.05, -top.hem + 0.02) * off_arm * (position[:, 1] < 1.40)
    sleeve = ~off_arm * smoothstep(top.sleeve_end - arm, -0.06, 0.06) * 0.75
    if bottom.dress:
        trousers = np.full(n, 0.002)
    else:
        widening = 1 + 0.5 * np.clip(leg, 0, 2) * (bottom.looseness > 0.009)
        trousers = (
            (leg > -0.25)
            * off_arm
            * bottom.looseness
            * smoothstep(bottom.leg_end - leg, -0.05, 0.05)
            * widening
        )
    shoe = np.where(part == Part.FOOT, 0.012, 0) + (person.shoes.boots * 0.010) * (leg > 1.45) * (
        part >= Part.LOWER_LEG
    )
    worn = np.maximum.reduce([shirt * top.looseness, sleeve * top.looseness, trousers, shoe])
    thickness = np.where(layer == Layer.TIGHTS, np.maximum(worn, _BARE_CLEARANCE), 0.0)
    head = layer == Layer.HEAD
    if person.hair.style != 'bald':
        thickness += head * smoothstep(above_scalp(position), 0.0, 0.02) * person.hair.volume
    if hat is not None:
        thickness += head * smoothstep(position[:, 1], 1.575, 1.60) * 0.014
    return thickness.astype(np.float32)


def _spread_skirt(mesh: Mesh, person: Identity, points: np.ndarray) -> None:
    """Widens the skirt layer in place.

    A skirt flares towards its hem; a coat hangs clear of the clothes under it.
    """
    skirt = mesh.layer[: mesh.body_size] == Layer.SKIRT
    down = np.clip(mesh.leg[: mesh.body_size][skirt], 0, 2)
    width = (
        1.06 + 0.05 * down + 2 * person.top.looseness
        if person.top.kind == 'coat'
        else 1 + person.bottom.flare * 0.5 * down
    )
    points[skirt, 0] *= width
    points[skirt, 2] *= width


def _hair_and_hat(
    mesh: Mesh, person: Identity, points: np.ndarray, joints: np.ndarray
) -> dict[Layer, tuple]:
    """Places long hair, a brim and a hood: unit mesh, centre and radii of each."""
    head = mesh.layer[: mesh.body_size] == Layer.HEAD
    crown, nape = points[head, 1].max(), points[head, 2].min()
    face = points[head & (mesh.position[: mesh.body_size, 1] > 1.58), 2].max()
    hair = {
        'loose': ((0, crown - 0.185, nape + 0.055), (0.098, 0.165, 0.066)),
        'bob': ((0, crown - 0.125, nape + 0.075), (0.100, 0.105, 0.085)),
        'pony': ((0, crown - 0.15, nape - 0.01), (0.035, 0.13, 0.045)),
    }
    brim = {
        'cap': ((0, crown - 0.085, face + 0.02), (0.075, 0.010, 0.075)),
        'brim': ((0, crown - 0.075, 0.05), (0.155, 0.012, 0.16)),
    }
    placed = {}
    if person.hair.style in hair:
        placed[Layer.LONG_HAIR] = (BALL, *hair[person.hair.style])
    if person.carried.hat is not None and person.carried.hat.kind in brim:
        placed[Layer.BRIM] = (BALL, *brim[person.carried.hat.kind])
    if person.top.hood:
        placed[Layer.HOOD] = (
            BALL,
            (0, joints[Bone.NECK, 1] - 0.015, joints[Bone.NECK, 2] - 0.075),
            (0.10, 0.075, 0.065),
        )
    return placed


def _bags(
    mesh: Mesh, person: Identity, points: np.ndarray, joints: np.ndarray
) -> dict[Layer, tuple]:
    """Places backpack, bag and handbag: unit mesh, centre and radii of each."""
    n, carried = mesh.body_size, person.carried
    tights, position = mesh.layer[:n] == Layer.TIGHTS, mesh.position[:n]

    def box(centre: tuple, item: Item, radii: tuple) -> tuple:
        return BOX, centre, tuple(item.size * r for r in radii)

    placed = {}
    if carried.backpack is not None:
        back = points[
            tights
            & (np.abs(position[:, 0]) < 0.1)
            & (position[:, 1] > 1.05)
            & (position[:, 1] < 1.3),
            2,
        ].min()
        centre = (0, joints[Bone.CHEST, 1] - 0.03, back - 0.075 * carried.backpack.size)
        placed[Layer.BACKPACK] = box(centre, carried.backpack, (0.145, 0.215, 0.085))
    if carried.bag is not None:
        hip = np.abs(points[tights & (np.abs(mesh.leg[:n]) < 0.2), 0]).max()
        centre = (carried.bag.side * (hip + 0.05), joints[Bone.HIPS, 1] - 0.02, -0.03)
        placed[Layer.BAG] = box(centre, carried.bag, (0.06, 0.13, 0.16))
    if carried.handbag is not None:
        left = carried.handbag.side > 0
        hand = joints[Bone.LEFT_HAND if left else Bone.RIGHT_HAND]
        centre = (hand[0], hand[1] - 0.11 - 0.13 * carried.handbag.size, hand[2])
        placed[Layer.LEFT_HANDBAG if left else Layer.RIGHT_HANDBAG] = box(
            centre, carried.handbag, (0.045, 0.13, 0.16)
        )
    return placed


def _worn_triangles(mesh: Mesh, person: Identity, accessories: dict[Layer, tuple]) -> np.ndarray:
    """Selects the triangles `[t, 3]` that this person shows."""
    layer = mesh.triangle_layer
    shown = np.isin(layer, (Layer.TIGHTS, Layer.HEAD, Layer.HANDS, Layer.EYES, *accessories))
    length = (
        person.bottom.skirt_length
        if person.bottom.dress
        else person.top.coat_length
        if person.top.kind == 'coat'
        else None
    )
    if length is not None:
        shown |= (layer == Layer.SKIRT) & (mesh.leg[mesh.triangles].min(1) < length)
    return mesh.triangles[shown]


def build_figure(person: Identity) -> Figure:
    """Builds the person's mesh at rest, reduced to the vertices they show."""
    mesh = load_mesh()
    n, size = mesh.body_size, len(mesh.layer)
    body, joints = _blend(mesh, person.body)
    body = (
        body + vertex_normals(body, mesh.body_triangles) * _clothes_thickness(mesh, person)[:, None]
    )
    _spread_skirt(mesh, person, body)
    points, normals = np.zeros((size, 3), np.float32), np.zeros((size, 3), np.float32)
    points[:n], normals[:n] = body, vertex_normals(body, mesh.body_triangles)
    accessories = _bags(mesh, person, body, joints) | _hair_and_hat(mesh, person, body, joints)
    for layer, (unit, centre, radii) in accessories.items():
        points[mesh.slots[layer]] = np.array(centre) + unit * np.array(radii)
        slope = unit / np.array(radii)
        normals[mesh.slots[layer]] = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    triangles = _worn_triangles(mesh, person, accessories)
    used = np.unique(triangles)
    renumber = np.full(size, -1, np.int32)
    renumber[used] = np.arange(len(used))
    triangles, layer = renumber[triangles], mesh.layer[used]
    bones = np.argsort(-mesh.weights[used], 1, kind='stable')[:, :_BONES_PER_VERTEX]
    weights = np.take_along_axis(mesh.weights[used], bones, 1)
    return Figure(
        person=person,
        points=points[used],
        normals=normals[used],
        triangles=triangles,
        two_sided=layer[triangles[:, 0]] == Layer.SKIRT,
        joints=np.concatenate([joints, joints[[Bone.LEFT_HAND, Bone.RIGHT_HAND]]]).astype(
            np.float32
        ),
        layer=layer,
        part=mesh.part[used],
        fields=np.concatenate([mesh.position[used], mesh.arm[used, None], mesh.leg[used, None]], 1),
        bones=bones,
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        touches_ground=layer == Layer.TIGHTS,
    )
