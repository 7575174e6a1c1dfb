"""Clothes, skin and hair colours as linear RGB, drawn from boxes in HSV.

The boxes have the colour names of Market-1501.
"""

import numpy as np

from jreid.synthetic.draws import Draws

UPPER_COLOURS = ('black', 'white', 'red', 'purple', 'yellow', 'gray', 'blue', 'green')
LOWER_COLOURS = ('black', 'white', 'pink', 'purple', 'yellow', 'gray', 'blue', 'green', 'brown')

# Hue in degrees, saturation, value (of sRGB). Gray keeps away from white and black, so that labels
# stay true under any light.
_BOXES = {
    'black': ((200, 260), (0.0, 0.25), (0.07, 0.22)),
    'white': ((30, 60), (0.0, 0.07), (0.80, 0.95)),
    'red': ((-12, 10), (0.55, 0.85), (0.42, 0.80)),
    'purple': ((270, 315), (0.28, 0.6), (0.32, 0.68)),
    'yellow': ((40, 56), (0.45, 0.85), (0.62, 0.92)),
    'gray': ((190, 250), (0.0, 0.10), (0.32, 0.66)),
    'blue': ((204, 232), (0.35, 0.8), (0.25, 0.72)),
    'green': ((80, 160), (0.25, 0.65), (0.25, 0.62)),
    'pink': ((330, 352), (0.22, 0.5), (0.62, 0.9)),
    'brown': ((18, 36), (0.35, 0.6), (0.24, 0.5)),
}

SKIN = (
    np.array(
        [
            [0.86, 0.67, 0.55],
            [0.80, 0.60, 0.46],
            [0.70, 0.50, 0.36],
            [0.52, 0.35, 0.24],
            [0.36, 0.23, 0.16],
        ]
    )
    ** 2.2
)
HAIR = (
    np.array(
        [
            [0.06, 0.05, 0.05],
            [0.10, 0.07, 0.05],
            [0.20, 0.13, 0.08],
            [0.33, 0.22, 0.12],
            [0.62, 0.50, 0.30],
            [0.55, 0.54, 0.52],
            [0.30, 0.12, 0.06],
        ]
    )
    ** 2.2
)
GRAY_HAIR = 5


def hsv_to_linear(hue: float, saturation: float, value: float) -> np.ndarray:
    """Converts a hue in degrees and saturation, value in [0, 1] to linear RGB `[3]`."""
    sector = (hue % 360) / 60.0
    whole = int(sector)
    part = sector - whole
    p, q, t = (
        value * (1 - saturation),
        value * (1 - saturation * part),
        value * (1 - saturation * (1 - part)),
    )
    rgb = (
        (value, t, p),
        (q, value, p),
        (p, value, t),
        (p, q, value),
        (t, p, value),
        (value, p, q),
    )[whole % 6]
    return np.array(rgb) ** 2.2


def draw_colour(draws: Draws, name: str, colour: str) -> np.ndarray:
    """Draws linear RGB `[3]` of the named colour.

    `name` is that of the random parameter, e.g. `top`.
    """
    return hsv_to_linear(
        *(
            draws.uniform(f'{name}.{axis}', low, high)
            for axis, (low, high) in zip('hsv', _BOXES[colour], strict=True)
        )
    )
