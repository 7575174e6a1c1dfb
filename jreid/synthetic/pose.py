"""Poses figures: a walking cycle as joint rotations, kinematics and linear blend skinning.

Matrix products are einsum instead of BLAS. BLAS kernels differ between thread counts and CPUs, and
with them the bytes of the images.
"""

from collections.abc import Sequence

import numpy as np

from jreid.synthetic.body import Figure
from jreid.synthetic.identity import Identity
from jreid.synthetic.mesh import Bone, load_mesh
from jreid.synthetic.scene import Frame

_BODY_BONES = 19
_LIMBS = (
    (1, Bone.LEFT_ARM, Bone.LEFT_FOREARM, Bone.LEFT_THIGH, Bone.LEFT_SHIN, Bone.LEFT_FOOT),
    (-1, Bone.RIGHT_ARM, Bone.RIGHT_FOREARM, Bone.RIGHT_THIGH, Bone.RIGHT_SHIN, Bone.RIGHT_FOOT),
)
# The mesh rests in an A-pose with bent elbows and parted legs (radians).
_ARMS_LIFTED, _ELBOW_BENT, _LEGS_PARTED = np.deg2rad(33), np.deg2rad(43), np.deg2rad(5)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum('...ij,...jk->...ik', a, b)


def _apply(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.einsum('...ij,...j->...i', matrix, point)


def _turn(axis: str, angle: np.ndarray | float) -> np.ndarray:
    """Returns rotations `[..., 3, 3]` about a coordinate axis."""
    angle = np.asarray(angle, np.float64)
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = {
        'x': (one, zero, zero, zero, c, -s, zero, s, c),
        'y': (c, zero, s, zero, one, zero, -s, zero, c),
        'z': (c, -s, zero, s, c, zero, zero, zero, one),
    }
    return np.stack(rows[axis], -1).reshape(angle.shape + (3, 3))


def pose(people: Sequence[Identity], frames: Sequence[Frame]) -> np.ndarray:
    """Computes joint rotations `[n, 19, 3, 3]` about the rest axes, per person and frame."""
    gait = {
        name: np.array([getattr(p.gait, name) for p in people])
        for name in ('stride', 'swing', 'elbow', 'lean', 'toe_out', 'arm_out')
    }
    phase = np.array([f.phase for f in frames])
    mode = np.array([f.mode for f in frames])
    jitter = np.stack([f.jitter for f in frames])
    head_yaw = np.array([f.head_yaw for f in frames])
    walk = np.where(mode == 'stand', 0.12, 1.0) * np.array([f.amplitude for f in frames])
    holding_side = np.array([p.carried.handbag.side if p.carried.handbag else 0 for p in people])

    rotation = np.tile(np.eye(3), (len(frames), _BODY_BONES, 1, 1))
    rotation[:, Bone.HIPS] = _product(
        _turn('y', 0.10 * walk * np.sin(phase)), _turn('z', 0.03 * walk * np.cos(phase))
    )
    rotation[:, Bone.SPINE] = _product(
        _turn('x', gait['lean']), _turn('y', -0.12 * walk * np.sin(phase) + jitter[:, 0])
    )
    rotation[:, Bone.CHEST] = _product(
        _turn('x', 0.02 + jitter[:, 1] * 0.5), _turn('y', -0.06 * walk * np.sin(phase))
    )
    rotation[:, Bone.NECK] = _turn('x', 0.05 + jitter[:, 2])
    rotation[:, Bone.HEAD] = _product(_turn('y', head_yaw), _turn('x', -0.05 + jitter[:, 2]))
    for side, arm, forearm, thigh, shin, foot in _LIMBS:
        step = phase + (0 if side > 0 else np.pi)
        hip = np.deg2rad(25) * gait['stride'] * walk * np.sin(step) + np.deg2rad(4)
        knee = np.deg2rad(6) + np.deg2rad(52) * walk * np.maximum(0, np.cos(step - 0.25)) ** 2
        together = _turn('z', np.full(len(frames), -side * (_LEGS_PARTED - 0.01)))
        rotation[:, thigh] = _product(
            _product(_turn('x', -hip), together), _turn('y', side * gait['toe_out'])
        )
        rotation[:, shin] = _turn('x', knee)
        rotation[:, foot] = _turn('x', np.clip(-(knee - hip) * 0.55, -0.5, 0.35))

        holding, phoning, pocketed = (
            holding_side == side,
            (mode == 'phone') & (side > 0),
            mode == 'pocket',
        )
        swing = -np.deg2rad(20) * gait['swing'] * walk * np.sin(step) * np.where(holding, 0.3, 1.0)
        bend = np.deg2rad(20) + gait['elbow'] + np.maximum(swing, 0) * 0.8
        swing = np.where(
            phoning, np.deg2rad(14) + jitter[:, 3], np.where(pocketed, -np.deg2rad(12), swing)
        )
        bend = np.where(
            phoning, np.deg2rad(118) + jitter[:, 4] * 2, np.where(pocketed, np.deg2rad(42), bend)
        )
        bend = np.where(holding, np.deg2rad(14), bend)
        hang = -side * (_ARMS_LIFTED - gait['arm_out'] - np.abs(jitter[:, 5]) * 0.6)
        rotation[:, arm] = _product(_turn('x', -swing), _turn('z', hang))
        rotation[:, forearm] = _product(
            _product(_turn('z', -hang), _turn('x', _ELBOW_BENT - bend)), _turn('z', hang)
        )
    return rotation


def kinematics(rotation: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Computes bone transforms `[n, 21, 3, 4]` of rest points.

    They come from rotations `[n, 19, 3, 3]` and rest joints `[n, 21, 3]`.
    """
    n = len(rotation)
    turn, shift = (
        np.zeros((n, len(Bone), 3, 3), np.float32),
        np.zeros((n, len(Bone), 3), np.float32),
    )
    for bone, parent in enumerate(load_mesh().parents):
        about = joints[:, bone] - _apply(rotation[:, bone], joints[:, bone])
        if parent < 0:
            turn[:, bone], shift[:, bone] = rotation[:, bone], about
        else:
            turn[:, bone] = _product(turn[:, parent], rotation[:, bone])
            shift[:, bone] = shift[:, parent] + _apply(turn[:, parent], about)
    for bone, hand in ((Bone.LEFT_HANG, Bone.LEFT_HAND), (Bone.RIGHT_HANG, Bone.RIGHT_HAND)):
        turn[:, bone] = turn[:, Bone.HIPS]
        shift[:, bone] = (
            _apply(turn[:, hand], joints[:, hand])
            + shift[:, hand]
            - _apply(turn[:, bone], joints[:, hand])
        )
    return np.concatenate([turn, shift[..., None]], -1)


def skin(figure: Figure, transforms: np.ndarray, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Computes posed points `[3, n]`, with the feet on the ground, and normals `[3, n]`.

    They come from the transforms `[21, 3, 4]` of one figure.
    """
    m = (
        _product(_turn('y', yaw).astype(np.float32), transforms)
        .reshape(len(Bone), 12)
        .astype(np.float32)
    )
    blended = sum(
        m.take(figure.bones[:, k], axis=0) * figure.weights[:, k : k + 1]
        for k in range(figure.bones.shape[1])
    )
    m = np.ascontiguousarray(blended.T)
    x, y, z = figure.points.T
    points = np.stack(
        [m[4 * i] * x + m[4 * i + 1] * y + m[4 * i + 2] * z + m[4 * i + 3] for i in range(3)]
    )
    x, y, z = figure.normals.T
    normals = np.stack([m[4 * i] * x + m[4 * i + 1] * y + m[4 * i + 2] * z for i in range(3)])
    points[1] -= points[1, figure.touches_ground].min()
    return points, normals
