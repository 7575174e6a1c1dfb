"""The three domains as data: who walks there, what they wear, and how the cameras see them."""

import dataclasses
from typing import Any

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Domain:
    """Ranges from which the people and the cameras of one place are drawn.

    Probabilities are in [0, 1].
    """

    name: str
    key: int  # part of every random key, so that the domains share no people
    # People.
    upper: tuple[float, ...]  # weights of UPPER_COLOURS
    lower: tuple[float, ...]  # weights of LOWER_COLOURS
    age: tuple[float, float, float, float]  # weights of young, teenager, adult, old
    short_sleeve: float
    short_lower: float
    dress: float  # of women
    coat: float
    jacket: float  # of those without a coat
    hat: float
    backpack: float
    bag: float
    handbag: float
    boots: float
    # Camera geometry.
    elevation: Range  # degrees
    distance: Range  # metres
    # Light.
    sun: Range
    sun_elevation: Range  # degrees
    ambient: Range
    ambient_colour: tuple[float, float, float]
    sun_colour: tuple[float, float, float]
    # Camera colour.
    white_red: Range
    white_blue: Range
    exposure: Range
    gamma: Range
    saturation: Range
    contrast: Range
    haze: Range
    # Sharpness.
    resolution: Range  # pixels of height before resizing
    blur: Range  # pixels, the point spread's deviation
    noise: Range
    jpeg: Range  # quality
    # Surroundings.
    ground: tuple[str, ...]
    wall: tuple[str, ...]
    patterned: float = 0.45

    @property
    def warm(self) -> bool:
        """Returns whether people wear summer clothes: no tights, few hoods."""
        return self.short_sleeve >= 0.5


PLAZA = Domain(
    name='plaza',
    key=11,
    upper=(0.18, 0.24, 0.12, 0.06, 0.07, 0.10, 0.14, 0.09),
    lower=(0.24, 0.08, 0.05, 0.02, 0.02, 0.14, 0.29, 0.04, 0.12),
    age=(0.03, 0.50, 0.41, 0.06),
    short_sleeve=0.80,
    short_lower=0.42,
    dress=0.45,
    coat=0.0,
    jacket=0.10,
    hat=0.10,
    backpack=0.22,
    bag=0.22,
    handbag=0.18,
    boots=0.02,
    elevation=(4, 15),
    distance=(6, 12),
    sun=(0.7, 1.5),
    sun_elevation=(35, 65),
    ambient=(0.45, 0.7),
    ambient_colour=(0.86, 0.96, 1.12),
    sun_colour=(1.10, 1.0, 0.82),
    white_red=(1.0, 1.18),
    white_blue=(0.82, 1.0),
    exposure=(0.82, 1.24),
    gamma=(2.0, 2.4),
    saturation=(0.95, 1.25),
    contrast=(1.0, 1.25),
    haze=(0.0, 0.015),
    resolution=(96, 150),
    blur=(0.45, 0.8),
    noise=(0.008, 0.02),
    jpeg=(60, 90),
    ground=('paving', 'slab', 'asphalt'),
    wall=('shop', 'facade', 'plaster'),
)
CAMPUS = Domain(
    name='campus',
    key=23,
    upper=(0.34, 0.09, 0.08, 0.04, 0.02, 0.22, 0.14, 0.07),
    lower=(0.46, 0.02, 0.01, 0.01, 0.01, 0.15, 0.24, 0.02, 0.08),
    age=(0.02, 0.68, 0.27, 0.03),
    short_sleeve=0.10,
    short_lower=0.06,
    dress=0.12,
    coat=0.32,
    jacket=0.38,
    hat=0.14,
    backpack=0.48,
    bag=0.16,
    handbag=0.10,
    boots=0.22,
    elevation=(16, 32),
    distance=(9, 18),
    sun=(0.0, 0.35),
    sun_elevation=(20, 40),
    ambient=(0.70, 0.95),
    ambient_colour=(0.90, 0.99, 1.08),
    sun_colour=(1.05, 1.0, 0.92),
    white_red=(0.87, 0.98),
    white_blue=(1.02, 1.16),
    exposure=(0.80, 1.06),
    gamma=(1.9, 2.3),
    saturation=(0.80, 1.0),
    contrast=(0.95, 1.2),
    haze=(0.0, 0.025),
    resolution=(64, 104),
    blur=(0.5, 0.9),
    noise=(0.01, 0.024),
    jpeg=(35, 68),
    ground=('asphalt', 'grass', 'path'),
    wall=('hedge', 'brick', 'trees'),
)
STATION = Domain(
    name='station',
    key=37,
    upper=(0.28, 0.14, 0.10, 0.06, 0.04, 0.16, 0.15, 0.07),
    lower=(0.38, 0.04, 0.02, 0.02, 0.02, 0.17, 0.25, 0.03, 0.07),
    age=(0.05, 0.30, 0.50, 0.15),
    short_sleeve=0.35,
    short_lower=0.18,
    dress=0.25,
    coat=0.15,
    jacket=0.25,
    hat=0.08,
    backpack=0.30,
    bag=0.28,
    handbag=0.22,
    boots=0.10,
    elevation=(10, 24),
    distance=(4, 9),
    sun=(0.1, 0.5),
    sun_elevation=(60, 85),
    ambient=(0.4, 0.7),
    ambient_colour=(1.02, 1.05, 0.90),
    sun_colour=(1.0, 1.03, 0.9),
    white_red=(0.94, 1.12),
    white_blue=(0.84, 1.02),
    exposure=(0.7, 1.05),
    gamma=(2.0, 2.6),
    saturation=(0.7, 1.05),
    contrast=(0.95, 1.2),
    haze=(0.0, 0.015),
    resolution=(64, 120),
    blur=(0.5, 1.0),
    noise=(0.008, 0.022),
    jpeg=(40, 75),
    ground=('tile', 'slab'),
    wall=('panel', 'facade', 'plaster'),
)
DOMAINS = {domain.name: domain for domain in (PLAZA, CAMPUS, STATION)}

# The camera without a domain's colours, and the least value that still gives a picture.
_NEUTRAL = {
    'ambient_colour': (1.0, 0.2),
    'sun_colour': (1.0, 0.2),
    'white_red': (1.0, 0.2),
    'white_blue': (1.0, 0.2),
    'exposure': (1.0, 0.2),
    'gamma': (2.2, 1.2),
    'saturation': (1.0, 0.0),
    'contrast': (1.1, 0.2),
    'haze': (0.0, 0.0),
}


def find_domain(name: str) -> Domain:
    """Returns the domain of that name.

    Raises:
      ValueError: there is no such domain; the message lists those that exist.
    """
    if name not in DOMAINS:
        raise ValueError(f'unknown synthetic domain {name!r}; expected one of {", ".join(DOMAINS)}')
    return DOMAINS[name]


def with_strength(domain: Domain, strength: float) -> Domain:
    """Returns the domain with its colour ranges stretched `strength` times about neutral.

    0 gives cameras without a cast, 1 the domain itself.
    """
    if not 0 <= strength <= 4:
        raise ValueError(
            f'strength is {strength}; expected 0 (no colour difference between cameras and domains)'
            ' to 4; 1 is the domain as designed'
        )
    if strength == 1:
        return domain
    stretched: dict[str, Any] = {
        field: tuple(
            max(floor, neutral + strength * (value - neutral)) for value in getattr(domain, field)
        )
        for field, (neutral, floor) in _NEUTRAL.items()
    }
    return dataclasses.replace(domain, **stretched)
