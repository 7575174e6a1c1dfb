"""Ground and wall textures, one pair per camera, 2.5 cm per texel.

Row 0 of the wall is at ground level.
"""

import numpy as np

from jreid.synthetic.colours import hsv_to_linear
from jreid.synthetic.draws import Draws, uniforms
from jreid.synthetic.noise import fractal

TEXELS_PER_METRE = 40
GROUND_SIDE = 256
WALL_WIDTH, WALL_HEIGHT = 512, 224

_GROUND = {
    'paving': (0.36, 0.33, 0.29),
    'slab': (0.30, 0.29, 0.27),
    'asphalt': (0.11, 0.11, 0.115),
    'grass': (0.075, 0.12, 0.035),
    'path': (0.26, 0.24, 0.20),
    'tile': (0.38, 0.37, 0.34),
}
_JOINTS = {'paving': 16, 'slab': 32, 'tile': 32}
_WALL = {
    'shop': (0.30, 0.28, 0.25),
    'facade': (0.42, 0.36, 0.27),
    'plaster': (0.44, 0.41, 0.36),
    'panel': (0.33, 0.36, 0.37),
    'brick': (0.20, 0.085, 0.055),
}
# Width of the windows and of the wall between them, lowest and highest row.
_WINDOWS = {
    'shop': (88, 20, 14, 110),
    'facade': (36, 40, 40, 100),
    'brick': (40, 60, 40, 100),
    'plaster': (50, 120, 40, 100),
}
_LEAVES = (0.05, 0.085, 0.03)


def ground_texture(kind: str, tint: float, key: tuple[int, ...]) -> np.ndarray:
    """Makes the tileable albedo `[256, 256, 3]` of the ground."""
    n = GROUND_SIDE
    y, x = np.mgrid[:n, :n]
    coarse, grain = fractal(n, n, 1.1, *key, 5)[..., None], fractal(n, n, 0.3, *key, 6)[..., None]
    out = np.array(_GROUND[kind]) * tint * (1 + 0.10 * coarse + 0.10 * grain)
    step = _JOINTS.get(kind)
    if step:
        tone = uniforms((n // step) ** 2, *key, 7).reshape(n // step, n // step)
        out *= (0.86 + 0.28 * tone.repeat(step, 0).repeat(step, 1))[..., None]
        out[(x % step == 0) | (y % step == 0)] *= 0.55
    if kind == 'grass':
        out *= np.clip(1 + 0.35 * fractal(n, n, 0.8, *key, 8)[..., None], 0.3, 2)
    if kind == 'path':
        out[:, 150:] = np.array((0.07, 0.11, 0.04)) * np.clip(
            1 + 0.3 * fractal(n, n, 0.8, *key, 8)[:, 150:, None], 0.3, 2
        )
    if kind == 'asphalt' and Draws(*key, 9).flag('markings', 0.6):
        out[:, 60:66] = 0.45
        out[120:126, :60] = 0.42
    return np.clip(out, 0.01, 0.8).astype(np.float32)


def wall_texture(kind: str, key: tuple[int, ...]) -> np.ndarray:
    """Makes the albedo `[224, 512, 3]` of a wall, 5.6 m high, which repeats sideways."""
    draws = Draws(*key, 10)
    coarse, grain = (
        fractal(WALL_HEIGHT, WALL_WIDTH, 1.2, *key, 11)[..., None],
        fractal(WALL_HEIGHT, WALL_WIDTH, 0.3, *key, 12)[..., None],
    )
    out = (
        _building(kind, draws, key, coarse, grain)
        if kind in _WALL
        else _foliage(kind, draws, key, coarse, grain)
    )
    _place_objects(out, draws, cars=kind != 'panel')
    return np.clip(out, 0.005, 0.9).astype(np.float32)


def _building(
    kind: str, draws: Draws, key: tuple[int, ...], coarse: np.ndarray, grain: np.ndarray
) -> np.ndarray:
    y, x = np.mgrid[:WALL_HEIGHT, :WALL_WIDTH]
    out = (
        np.array(_WALL[kind]) * draws.uniform('tone', 0.7, 1.2) * (1 + 0.06 * coarse + 0.04 * grain)
    )
    if kind == 'brick':
        row = y // 4
        shifted = x + 4 * (row % 2)
        out[(y % 4 == 0) | (shifted % 9 == 0)] *= 1.5
        tone = uniforms(WALL_HEIGHT * WALL_WIDTH, *key, 13).reshape(WALL_HEIGHT, WALL_WIDTH)
        out *= (1 + 0.25 * (tone[row, shifted // 9] - 0.5))[..., None]
    if kind == 'panel':
        out[(x % 48 < 2) | (y % 64 < 1)] *= 0.5
    if kind in _WINDOWS:
        width, gap, low, high = _WINDOWS[kind]
        for left in range(10, WALL_WIDTH - width, width + gap):
            _window(out, draws, f'window{left}', coarse, left, width, low, high)
            if kind == 'shop':
                _shop_window(out, draws, f'window{left}', left, width)
    out[:8] *= 0.55
    return out


def _colour(
    draws: Draws,
    name: str,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: tuple[float, float] = (0, 360),
) -> np.ndarray:
    return hsv_to_linear(
        draws.uniform(f'{name}.h', *hue),
        draws.uniform(f'{name}.s', *saturation),
        draws.uniform(f'{name}.v', *value),
    )


def _window(
    out: np.ndarray,
    draws: Draws,
    name: str,
    coarse: np.ndarray,
    left: int,
    width: int,
    low: int,
    high: int,
) -> None:
    if draws.flag(f'{name}.dark', 0.7):
        colour = np.array((0.05, 0.07, 0.08)) * draws.uniform(f'{name}.tone', 0.4, 2.2)
    else:
        colour = _colour(draws, name, (0.1, 0.5), (0.3, 0.8))
    out[low:high, left : left + width] = 0.5 if draws.flag(f'{name}.light_frame', 0.5) else 0.12
    pane = slice(low + 3, high - 3), slice(left + 3, left + width - 3)
    out[pane] = colour * (1 + 0.5 * coarse[pane])


def _shop_window(out: np.ndarray, draws: Draws, name: str, left: int, width: int) -> None:
    for k in range(3):
        ware = f'{name}.ware{k}'
        x, y = (
            int(draws.uniform(f'{ware}.x', left + 5, left + width - 24)),
            int(draws.uniform(f'{ware}.y', 16, 60)),
        )
        tall, wide = (
            int(draws.uniform(f'{ware}.tall', 8, 40)),
            int(draws.uniform(f'{ware}.wide', 6, 20)),
        )
        out[y : y + tall, x : x + wide] = _colour(draws, ware, (0.1, 0.7), (0.2, 0.9))
    out[112:130, left : left + width] = _colour(draws, f'{name}.sign', (0.2, 0.8), (0.2, 0.7))


def _foliage(
    kind: str, draws: Draws, key: tuple[int, ...], coarse: np.ndarray, grain: np.ndarray
) -> np.ndarray:
    y = np.arange(WALL_HEIGHT)[:, None]
    leaves = fractal(WALL_HEIGHT, WALL_WIDTH, 0.9, *key, 14)[..., None]
    out = np.array(_LEAVES) * np.clip(1 + 0.5 * leaves + 0.15 * grain, 0.15, 3)
    if kind == 'hedge':
        top = (52 + 8 * fractal(WALL_HEIGHT, WALL_WIDTH, 1.5, *key, 15)[0]).astype(int)
        behind = y > top[None]
        out[behind] = (np.array((0.20, 0.17, 0.13)) * (1 + 0.1 * coarse))[behind]
    if kind == 'trees':
        out[:60] = np.array((0.10, 0.12, 0.06)) * (1 + 0.2 * coarse[:60])
        for k in range(7):
            x, wide = (
                int(draws.uniform(f'trunk{k}.x', 0, WALL_WIDTH - 14)),
                int(draws.uniform(f'trunk{k}.wide', 5, 12)),
            )
            out[:150, x : x + wide] = np.array((0.07, 0.05, 0.035)) * draws.uniform(
                f'trunk{k}.tone', 0.6, 1.4
            )
        sky = (fractal(WALL_HEIGHT, WALL_WIDTH, 1.0, *key, 16) > 1.2) & (y > 80)
        out[sky] = (0.5, 0.55, 0.6)
    return out


def _place_objects(out: np.ndarray, draws: Draws, *, cars: bool) -> None:
    """Draws parked cars, poles, bins and people far away, in place.

    They are what the pictures of a camera have in common.
    """
    for k in range(int(draws.uniform('objects', 1, 4))):
        name = f'object{k}'
        kind, x = (
            draws.uniform(f'{name}.kind'),
            int(draws.uniform(f'{name}.x', 0, WALL_WIDTH - 180)),
        )
        if kind < 0.45 and cars:
            _car(out, draws, name, x)
        elif kind < 0.65:
            out[:, x : x + int(draws.uniform(f'{name}.wide', 3, 7))] = draws.uniform(
                f'{name}.tone', 0.03, 0.3
            )
        elif kind < 0.8:
            tall, wide = (
                int(draws.uniform(f'{name}.tall', 30, 45)),
                int(draws.uniform(f'{name}.wide', 18, 30)),
            )
            out[:tall, x : x + wide] = _colour(draws, name, (0, 0.5), (0.1, 0.5), (60, 240))
        else:
            for person in range(2):
                _far_person(out, draws, f'{name}.person{person}')


def _car(out: np.ndarray, draws: Draws, name: str, left: int) -> None:
    y, x = np.mgrid[:WALL_HEIGHT, :WALL_WIDTH]
    length, tall = (
        int(draws.uniform(f'{name}.length', 150, 175)),
        int(draws.uniform(f'{name}.tall', 52, 60)),
    )
    plain = draws.flag(f'{name}.plain', 0.7)
    colour = _colour(
        draws, name, *(((0, 0.15), (0.15, 0.9), (200, 240)) if plain else ((0.4, 0.8), (0.3, 0.7)))
    )
    along, up = (x - left) / length, y / tall
    lean = up - 0.6  # of the roof's ends
    hull = (up > 0.18) & (up < 0.62) & (along > 0) & (along < 1)
    roof = (up >= 0.6) & (up < 1) & (along > 0.18 + 0.25 * lean) & (along < 0.86 - 0.3 * lean)
    glass = (up > 0.64) & (up < 0.93) & (along > 0.23 + 0.25 * lean) & (along < 0.81 - 0.3 * lean)
    out[hull] = colour
    out[roof] = colour * 0.9
    out[glass] = (0.03, 0.035, 0.04)
    out[hull & (up < 0.24)] *= 0.4
    for wheel in (0.2, 0.8):
        out[((x - left - wheel * length) ** 2 + (y - 13) ** 2) < 170] = 0.012


def _far_person(out: np.ndarray, draws: Draws, name: str) -> None:
    y, x = np.mgrid[:WALL_HEIGHT, :WALL_WIDTH]
    middle = int(draws.uniform(f'{name}.x', 0, WALL_WIDTH - 40)) + 16
    aside = np.abs(x - middle)
    out[(y < 34) & (aside < 6)] = _colour(draws, f'{name}.lower', (0, 0.5), (0.1, 0.5), (200, 250))
    out[(y >= 34) & (y < 58) & (aside < 8)] = _colour(draws, f'{name}.upper', (0, 0.6), (0.1, 0.9))
    out[((x - middle) / 4.5) ** 2 + ((y - 63) / 5.5) ** 2 < 1] = (0.28, 0.18, 0.12)
