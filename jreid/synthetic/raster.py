"""A triangle z-buffer in numpy: the triangle, and the place in it, that each pixel shows."""

import numpy as np

_EMPTY = np.iinfo(np.int64).max
# The number of a triangle takes the low 16 bits of the depth key.
_MAX_TRIANGLES = 1 << 16
_DEPTH_STEPS = np.float32(65_536)
# Triangles with bounding boxes of similar size are filled together.
_SIDES = (1, 2, 3, 5, 8, 16, 64, 256)
# This tolerance keeps pixels from falling between two triangles.
_EDGE = 1e-5


def rasterise(
    x: np.ndarray,
    y: np.ndarray,
    depth: np.ndarray,
    triangles: np.ndarray,
    two_sided: np.ndarray,
    height: int,
    width: int,
) -> tuple[np.ndarray, ...]:
    """Finds the pixels that triangles cover, nearest first.

    Args:
      x: float32 `[n]`, columns of the vertices in pixels.
      y: float32 `[n]`, rows of the vertices in pixels, downwards.
      depth: float32 `[n]`, distances from the camera.
      triangles: int `[t, 3]`, fewer than 65,536. Those that face away are dropped unless
        `two_sided` `[t]`.

    Returns:
      (pixel, triangle, u, v), each `[p]`: flat pixel index, and the weights of the triangle's first
      two corners.

    Raises:
      ValueError: there are more triangles than the depth key can distinguish.
    """
    if len(triangles) >= _MAX_TRIANGLES:
        raise ValueError(
            f'{len(triangles)} triangles in one image; expected fewer than {_MAX_TRIANGLES}: draw'
            ' fewer figures'
        )
    (x0, x1, x2), (y0, y1, y2) = x[triangles.T], y[triangles.T]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    left = np.maximum(np.ceil(np.minimum(np.minimum(x0, x1), x2) - 0.5), 0)
    right = np.minimum(np.floor(np.maximum(np.maximum(x0, x1), x2) - 0.5), width - 1)
    top = np.maximum(np.ceil(np.minimum(np.minimum(y0, y1), y2) - 0.5), 0)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(y0, y1), y2) - 0.5), height - 1)
    kept = np.flatnonzero(
        ((area > 1e-6) | (two_sided & (area < -1e-6))) & (right >= left) & (bottom >= top)
    )
    x0, x1, x2, y0, y1, y2, area, left, right, top, bottom = (
        a[kept] for a in (x0, x1, x2, y0, y1, y2, area, left, right, top, bottom)
    )
    z0, z1, z2 = depth[triangles[kept].T]

    # The first two corners' weights are planes over the image: a * x + b * y + c.
    scale = 1 / area
    a0, b0, c0 = (y1 - y2) * scale, (x2 - x1) * scale, (x1 * y2 - x2 * y1) * scale
    a1, b1, c1 = (y2 - y0) * scale, (x0 - x2) * scale, (x2 * y0 - x0 * y2) * scale
    half = np.float32(0.5)
    corner0 = a0 * (left + half) + b0 * (top + half) + c0
    corner1 = a1 * (left + half) + b1 * (top + half) + c1

    columns, rows = (right - left + 1).astype(np.int32), (bottom - top + 1).astype(np.int32)
    first = top.astype(np.int32) * width + left.astype(np.int32)
    side, previous = np.maximum(columns, rows), 0
    nearest = np.full(height * width, _EMPTY, np.int64)
    for limit in (*_SIDES, max(height, width)):
        group = np.flatnonzero((side > previous) & (side <= limit))
        previous = max(previous, limit)
        if not len(group):
            continue
        n_columns, n_rows = int(columns[group].max()), int(rows[group].max())
        dx, dy = np.arange(n_columns, dtype=np.float32), np.arange(n_rows, dtype=np.float32)
        u = (corner0[group, None] + a0[group, None] * dx)[:, None, :] + (b0[group, None] * dy)[
            :, :, None
        ]
        v = (corner1[group, None] + a1[group, None] * dx)[:, None, :] + (b1[group, None] * dy)[
            :, :, None
        ]
        inside = (u >= -_EDGE) & (v >= -_EDGE) & (u + v <= 1 + _EDGE)
        if (left[group] + n_columns > width).any() or (top[group] + n_rows > height).any():
            inside &= (dx <= (width - 1 - left[group])[:, None])[:, None, :] & (
                dy <= (height - 1 - top[group])[:, None]
            )[:, :, None]
        covered = np.flatnonzero(inside.ravel())
        member = covered // (n_columns * n_rows)
        cell = covered - member * (n_columns * n_rows)
        triangle, u, v = group[member], u.ravel()[covered], v.ravel()[covered]
        z = z2[triangle] + u * (z0[triangle] - z2[triangle]) + v * (z1[triangle] - z2[triangle])
        key = ((z * _DEPTH_STEPS).astype(np.int64) << 16) | triangle
        np.minimum.at(
            nearest, first[triangle] + (cell // n_columns) * width + cell % n_columns, key
        )

    pixel = np.flatnonzero(nearest != _EMPTY)
    shown = nearest[pixel] & (_MAX_TRIANGLES - 1)
    px, py = (pixel % width) + half, (pixel // width) + half
    u = a0[shown] * px + b0[shown] * py + c0[shown]
    v = a1[shown] * px + b1[shown] * py + c1[shown]
    return pixel, kept[shown], u.astype(np.float32), v.astype(np.float32)
