"""Computes the albedo of every visible pixel of a person, from its place on the body.

Edges of garments, straps, stripes and logos are thresholds on the interpolated canonical position.
They are therefore sharp at any mesh density and move with the body.
"""

import dataclasses

import numpy as np

from jreid.synthetic.body import above_scalp
from jreid.synthetic.draws import uniforms
from jreid.synthetic.identity import Identity
from jreid.synthetic.mesh import Layer, Part
from jreid.synthetic.noise import SIDE, creases, fine
from jreid.synthetic.wardrobe import Top


@dataclasses.dataclass(frozen=True)
class Surface:
    """The visible pixels of one person.

    All arrays are `[p]`: layer, mask class, canonical position, and places along arm and leg.
    """

    layer: np.ndarray
    part: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    arm: np.ndarray
    leg: np.ndarray

    def take(self, rows: np.ndarray) -> 'Surface':
        """Selects these pixels."""
        return Surface(
            **{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)}
        )


def _look_up(table: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    return table[row.astype(int) % SIDE, column.astype(int) % SIDE]


def albedo(person: Identity, surface: Surface) -> np.ndarray:
    """Computes the linear reflectance `[p, 3]` of a person's pixels."""
    out = np.empty((len(surface.layer), 3), np.float32)
    out[:] = person.body.skin
    upper = _covered_by_top(person, surface)
    rows = np.flatnonzero(upper)
    if len(rows):
        out[rows] = _top(person, surface.take(rows))
    _legs(person, surface, upper, out)
    rows = np.flatnonzero(surface.layer == Layer.HEAD)
    if len(rows):
        out[rows] = _head(person, surface.take(rows))
    _accessories(person, surface, out)
    return np.clip(out, 0.004, 0.92)


def _covered_by_top(person: Identity, s: Surface) -> np.ndarray:
    """Returns which pixels `[p]` the upper garment covers."""
    top, front = person.top, s.z > 0.01
    if top.kind in ('coat', 'jacket', 'hoodie') or top.collar:
        bare = (s.y > 1.425) | (front & (np.abs(s.x) < (s.y - 1.375) * 0.8))
    elif top.v_neck:
        bare = (s.y > 1.392) | (front & (np.abs(s.x) < (s.y - (1.392 - 2.2 * top.neck)) * 0.62))
    else:
        bare = (s.y > 1.392) | (
            front & ((s.x / 0.07) ** 2 + ((1.392 - s.y) / (top.neck + 0.012)) ** 2 < 1)
        )
    tights, skirt, on_arm = s.layer == Layer.TIGHTS, s.layer == Layer.SKIRT, s.arm > 0
    covered = tights & np.where(on_arm, s.arm < top.sleeve_end, (s.leg < top.hem) & ~bare)
    # The legs under a coat or a dress have its colour, so that they are invisible where they pierce
    # it.
    if top.kind == 'coat':
        covered |= (tights & ~on_arm & ~bare & (s.leg < top.coat_length - 0.07)) | (
            skirt & ((s.leg < top.coat_length) | (not person.bottom.dress))
        )
    if person.bottom.one_piece:
        covered |= skirt | (
            tights & ~on_arm & (s.leg > -0.3) & (s.leg < person.bottom.skirt_length - 0.07)
        )
    return covered


def _pattern(top: Top, along: np.ndarray, around: np.ndarray, on_arm: np.ndarray) -> np.ndarray:
    """Computes the share `[p]` of the accent colour in the garment's pattern.

    `_paint_logo` paints the logo.
    """

    def stripes(place: np.ndarray, frequency: float) -> np.ndarray:
        return (place * frequency + top.phase) % 1 < top.duty

    f = top.frequency
    if top.pattern == 'hstripe':
        share = stripes(along, f)
    elif top.pattern == 'vstripe':
        share = stripes(around, f * 1.2)
    elif top.pattern == 'plaid':
        share = 0.5 * stripes(along, f * 0.7) + 0.5 * stripes(around, f * 0.7)
    elif top.pattern == 'dots':
        share = ((along * f) % 1 - 0.5) ** 2 + ((around * f) % 1 - 0.5) ** 2 < 0.1
    elif top.pattern == 'block':
        share = (along < 1.14 + 0.12 * top.phase) & ~on_arm
    elif top.pattern == 'band':
        share = (np.abs(along - 1.12 - 0.14 * top.phase) < 0.02 + 0.04 * top.duty) & ~on_arm
    elif top.pattern == 'raglan':
        share = on_arm
    elif top.pattern == 'camo':
        share = _look_up(creases(), along * 260, around * 260) > 0.35
    else:
        share = np.zeros(len(along))
    return share.astype(np.float32)


def _paint_logo(top: Top, s: Surface, on_arm: np.ndarray, out: np.ndarray) -> None:
    """Paints the logo on the chest and perhaps the back, in place.

    It is six by six cells of the accent, base and inner colours.
    """
    u, v = s.x / top.logo_width + 0.5, (s.y - 1.22) / top.logo_height + 0.5
    side = (s.z > 0.02) | ((s.z < -0.03) & top.logo_back)
    inside = side & ~on_arm & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    column = (u[inside] * 6).astype(int)
    column = np.where(s.z[inside] < 0, 5 - column, column)
    level = uniforms(36, top.logo_key)[column + 6 * (v[inside] * 6).astype(int)][:, None]
    out[inside] = np.where(level < 0.62, top.accent, np.where(level < 0.8, top.colour, top.inner))


def _top(person: Identity, s: Surface) -> np.ndarray:
    """Paints the upper garment: pattern, opening, seams and straps of a backpack."""
    top, on_arm = person.top, s.arm > 0
    along = np.where(on_arm, 1.30 - s.arm * 0.26, s.y)
    around = np.where(on_arm, s.z * 1.5, s.x + np.where(s.z > 0, 0, 0.003))
    share = _pattern(top, along, around, on_arm)[:, None]
    out = top.colour * (1 - share) + top.accent * share
    if top.pattern == 'logo':
        _paint_logo(top, s, on_arm, out)
    out = out * (1 + top.heather * _look_up(fine(), along * 500, around * 500))[:, None]
    front, aside = (s.z > 0) & ~on_arm, np.abs(s.x)
    if top.opening:
        half = top.opening * (1 + 0.8 * np.clip(1.2 - s.y, 0, 1))
        out[front & (aside < half) & (s.y < 1.40)] = top.inner
        out[front & (np.abs(aside - half) < 0.008)] *= 0.45
    elif top.kind in ('coat', 'jacket', 'shirt'):
        out[front & (aside < 0.006)] *= 0.5
    if top.kind == 'hoodie':
        pocket = np.abs(aside - 0.13 - 0.3 * (s.y - 1.0)) < 0.008
        out[(s.z > 0.03) & ~on_arm & pocket & (s.y < 1.06) & (s.y > 0.93)] *= 0.6
    if person.carried.backpack is not None:
        strap = ~on_arm & (np.abs(aside - 0.095) < 0.022) & (s.y > 1.08) & (s.z > -0.08)
        out[strap] = person.carried.backpack.colour * 0.8
    return out


def _legs(person: Identity, s: Surface, upper: np.ndarray, out: np.ndarray) -> None:
    """Paints the lower garment, tights, socks and shoes, in place."""
    bottom, shoes = person.bottom, person.shoes
    tights = s.layer == Layer.TIGHTS
    free = tights & (s.arm <= 0) & ~upper
    if bottom.tights:
        out[free & (s.leg > 0) & (s.leg < 1.93)] = bottom.tights_colour
    lower = (s.layer == Layer.SKIRT) & ~upper
    lower |= free & (s.leg > -0.3) & (s.leg < 0.15)
    if bottom.dress:
        lower |= free & (s.leg > -0.3) & (s.leg < bottom.skirt_length - 0.07)
    else:
        lower |= free & (s.leg > person.top.hem - 0.02) & (s.leg < bottom.leg_end)
    rows = np.flatnonzero(lower)
    colour = np.repeat(bottom.colour[None].astype(np.float32), len(rows), 0)
    x, y, z, leg = s.x[rows], s.y[rows], s.z[rows], s.leg[rows]
    if bottom.jeans:
        worn = 0.55 * np.exp(-(((leg - 0.55) / 0.4) ** 2)) * (z > 0.02)
        colour *= (1 + worn + 0.25 * _look_up(fine(), y * 300, x * 300))[:, None]
    if bottom.side_stripe:
        colour[np.abs(z) < 0.015] = person.top.accent
    out[rows] = colour
    shoe = tights & (s.part == Part.FOOT)
    if shoes.boots:
        shoe |= tights & (s.arm <= 0) & (s.leg > max(1.5, 1.4 + 0.5 * (1 - shoes.sock)))
    if shoes.sock:
        out[tights & (s.arm <= 0) & ~lower & ~shoe & (s.leg > 1.93 - shoes.sock)] = (
            shoes.sock_colour
        )
    out[shoe] = shoes.colour
    if shoes.light_sole:
        out[shoe & (s.y < 0.022)] = (0.5, 0.5, 0.48)


def _head(person: Identity, s: Surface) -> np.ndarray:
    """Paints face, hair and hat."""
    hair, hat, skin = person.hair, person.carried.hat, person.body.skin
    out = np.repeat(skin[None].astype(np.float32), len(s.x), 0)
    face, beside_eye = s.z > 0.09, np.abs(np.abs(s.x) - 0.031)
    out[face & (beside_eye < 0.014) & (np.abs(s.y - 1.571) < 0.006)] = hair.colour * 0.8
    out[face & (beside_eye < 0.013) & (np.abs(s.y - 1.554) < 0.006)] *= 0.35
    out[face & (np.abs(s.x) < 0.022) & (np.abs(s.y - 1.488) < 0.007)] *= (0.75, 0.42, 0.42)
    if hair.beard:
        out[(s.z > 0.05) & (s.y < 1.505) & (s.y > 1.44)] = 0.5 * skin + 0.5 * hair.colour
    if hair.style != 'bald':
        hairy = above_scalp(np.stack([s.x, s.y, s.z], -1)) > 0
        out[hairy] = (
            hair.colour * (1 + 0.25 * _look_up(fine(), s.x[hairy] * 700, s.y[hairy] * 120))[:, None]
        )
    if hat is not None:
        edge, slope, forehead = (1.575, 0.25, 0.08) if hat.kind == 'beanie' else (1.588, 0.12, 0.06)
        out[s.y > edge - slope * np.clip(forehead - s.z, 0, 0.2)] = hat.colour
    return out


def _accessories(person: Identity, s: Surface, out: np.ndarray) -> None:
    """Paints eyes, long hair, brim, hood and bags, in place.

    On these layers the position is that of the unit mesh.
    """
    out[s.layer == Layer.EYES] = (0.25, 0.22, 0.2)
    out[s.layer == Layer.LONG_HAIR] = person.hair.colour
    out[s.layer == Layer.HOOD] = person.top.colour * 0.85
    carried = person.carried
    if carried.hat is not None:
        out[s.layer == Layer.BRIM] = carried.hat.colour * 0.8
    if carried.backpack is not None:
        pack = s.layer == Layer.BACKPACK
        out[pack] = carried.backpack.colour
        if carried.backpack.two_coloured:
            out[pack & (s.y < -0.1)] = person.top.accent * 0.8
        out[pack & (np.abs(s.y + 0.1) < 0.05)] *= 0.5
        out[pack & (np.abs(np.abs(s.x) - 0.6) < 0.06) & (s.y < -0.1)] *= 0.6
    if carried.bag is not None:
        bag = s.layer == Layer.BAG
        out[bag] = carried.bag.colour
        out[bag & (s.y > 0.35)] *= 0.7
        strap = np.abs((s.y - 1.14) + carried.bag.side * 1.55 * s.x) < 0.032
        out[(s.layer == Layer.TIGHTS) & (s.arm <= 0) & strap & (s.y > 0.9) & (s.y < 1.38)] = (
            carried.bag.colour * 0.8
        )
    if carried.handbag is not None:
        out[(s.layer == Layer.LEFT_HANDBAG) | (s.layer == Layer.RIGHT_HANDBAG)] = (
            carried.handbag.colour
        )
