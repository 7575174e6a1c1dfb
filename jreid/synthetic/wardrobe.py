"""Clothes and bags: the fields they are made of and how they are drawn.

Lengths along the arm run 0 shoulder, 1 elbow, 2 wrist; along the leg 0 hip, 1 knee, 2 ankle; other
lengths are metres. Colours are linear RGB.
"""

import dataclasses

import numpy as np

from jreid.synthetic.colours import LOWER_COLOURS, UPPER_COLOURS, draw_colour
from jreid.synthetic.domains import Domain
from jreid.synthetic.draws import Draws


@dataclasses.dataclass(frozen=True)
class Top:
    """Upper garment: tee, shirt, hoodie, jacket or coat."""

    kind: str
    colour_name: str
    colour: np.ndarray
    short_sleeve: bool
    sleeve_end: float
    hem: float
    coat_length: float
    looseness: float
    opening: float  # half width of an open front, 0 closed
    inner: np.ndarray  # colour that shows through it
    neck: float
    v_neck: bool
    hood: bool
    collar: bool
    pattern: str
    accent: np.ndarray
    frequency: float  # repeats per metre
    duty: float
    phase: float
    logo_key: int
    logo_width: float
    logo_height: float
    logo_back: bool
    heather: float


@dataclasses.dataclass(frozen=True)
class Bottom:
    """Trousers, shorts, a skirt, or the lower half of a dress."""

    colour_name: str
    colour: np.ndarray
    dress: bool  # skirt or dress
    one_piece: bool  # a dress in one colour with the top
    short: bool
    leg_end: float
    skirt_length: float
    flare: float
    tights: bool
    tights_colour: np.ndarray
    looseness: float
    jeans: bool
    side_stripe: bool


@dataclasses.dataclass(frozen=True)
class Shoes:
    """Shoes or boots, and socks that reach `sock` up the leg (0: none)."""

    colour: np.ndarray
    light_sole: bool
    boots: bool
    sock: float
    sock_colour: np.ndarray


@dataclasses.dataclass(frozen=True)
class Item:
    """A bag or a hat; `side` is +1 left, -1 right, `kind` a hat's: cap, beanie or brim."""

    colour: np.ndarray
    size: float = 1.0
    side: int = 1
    two_coloured: bool = False
    kind: str = ''


@dataclasses.dataclass(frozen=True)
class Carried:
    """A person's hat and bags; None where they have none."""

    hat: Item | None
    backpack: Item | None
    bag: Item | None
    handbag: Item | None


_PATTERNS = ('hstripe', 'vstripe', 'plaid', 'dots', 'logo', 'block', 'raglan', 'band', 'camo')
_LOOSENESS = {'coat': 0.030, 'jacket': 0.024, 'hoodie': 0.024, 'shirt': 0.013, 'tee': 0.011}


def _apart(accent: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Returns the accent, or a darker or lighter base where the accent would be invisible."""
    if np.abs(accent**0.45 - base**0.45).max() >= 0.18:
        return accent
    return np.clip(base * 3 + 0.15, 0, 0.8) if base.mean() < 0.25 else base * 0.12


def _draw_kind(draws: Draws, domain: Domain) -> str:
    if draws.flag('top.coat', domain.coat):
        return 'coat'
    if draws.flag('top.jacket', domain.jacket):
        return 'jacket'
    return draws.choice(
        'top.kind', ('tee', 'shirt', 'hoodie'), (0.55, 0.3, 0.15 if domain.warm else 0.45)
    )


def _draw_opening(draws: Draws, kind: str, short_sleeve: bool) -> float:
    outer = kind in ('coat', 'jacket') and draws.flag('top.open', 0.6)
    shirt = kind == 'shirt' and not short_sleeve and draws.flag('top.open_shirt', 0.15)
    return draws.uniform('top.opening', 0.028, 0.075) if outer or shirt else 0.0


def draw_top(draws: Draws, domain: Domain, *, female: bool) -> Top:
    """Draws an upper garment of the domain's fashion."""
    kind = _draw_kind(draws, domain)
    light = kind in ('tee', 'shirt')
    short = light and draws.flag(
        'top.short', min(1.0, domain.short_sleeve / max(0.05, 1 - domain.coat - domain.jacket))
    )
    if short:
        sleeve_end = draws.choice(
            'top.sleeve', (-0.06, 0.42, 0.62, 0.8), (0.12 if female else 0.04, 0.3, 0.4, 0.2)
        )
    else:
        sleeve_end = draws.uniform('top.sleeve_end', 1.8, 2.02)
    pattern = 'solid'
    if draws.flag('top.patterned', domain.patterned):
        pattern = draws.choice(
            'top.pattern',
            _PATTERNS,
            (0.2, 0.08, 0.1 if kind == 'shirt' else 0.05, 0.05, 0.28, 0.10, 0.08, 0.10, 0.04),
        )
    colour_name = draws.choice('top.colour_name', UPPER_COLOURS, domain.upper)
    colour = draw_colour(draws, 'top.colour', colour_name)
    inner = draws.choice(
        'top.inner_name', UPPER_COLOURS, (0.12, 0.34, 0.08, 0.04, 0.06, 0.16, 0.12, 0.08)
    )
    accent = draws.choice(
        'top.accent_name', UPPER_COLOURS, (0.22, 0.26, 0.12, 0.04, 0.10, 0.08, 0.12, 0.06)
    )
    return Top(
        kind=kind,
        colour_name=colour_name,
        colour=colour,
        short_sleeve=short,
        sleeve_end=sleeve_end,
        hem=draws.uniform('top.hem', -0.02, 0.07),
        coat_length=draws.uniform('top.coat_length', 0.25, 0.95),
        looseness=_LOOSENESS[kind] * draws.uniform('top.looseness', 0.7, 1.35),
        opening=_draw_opening(draws, kind, short),
        inner=draw_colour(draws, 'top.inner', inner),
        neck=draws.uniform('top.neck', 0.01, 0.05) if light else 0.0,
        v_neck=draws.flag('top.v_neck', 0.35),
        hood=kind == 'hoodie' or (kind == 'coat' and draws.flag('top.hood', 0.4)),
        collar=kind == 'shirt',
        pattern=pattern,
        accent=_apart(draw_colour(draws, 'top.accent', accent), colour),
        frequency=draws.uniform('top.frequency', 14, 34),
        duty=draws.uniform('top.duty', 0.25, 0.6),
        phase=draws.uniform('top.phase'),
        logo_key=draws.integer('top.logo_key'),
        logo_width=draws.uniform('top.logo_width', 0.07, 0.14),
        logo_height=draws.uniform('top.logo_height', 0.05, 0.14),
        logo_back=draws.flag('top.logo_back', 0.4),
        heather=draws.uniform('top.heather', 0.0, 0.16),
    )


def draw_bottom(draws: Draws, domain: Domain, top: Top, *, female: bool) -> Bottom:
    """Draws a lower garment; a one-piece dress takes the top's colour.

    Red is called pink here, as Market-1501 has no red lower garments.
    """
    dress = female and draws.flag('bottom.dress', domain.dress)
    one_piece = dress and top.kind in ('tee', 'shirt') and draws.flag('bottom.one_piece', 0.5)
    if one_piece:
        colour_name, colour = ('pink' if top.colour_name == 'red' else top.colour_name), top.colour
    else:
        colour_name = draws.choice('bottom.colour_name', LOWER_COLOURS, domain.lower)
        colour = draw_colour(draws, 'bottom.colour', colour_name)
    short = draws.flag('bottom.short', domain.short_lower + (0.35 if dress else 0))
    if short:
        leg_end, skirt_length = (
            draws.uniform('bottom.shorts_end', 0.45, 0.95),
            draws.uniform('bottom.short_skirt', 0.42, 0.92),
        )
    else:
        leg_end = draws.choice('bottom.trousers', (1.55, 1.95), (0.08, 0.92)) * draws.uniform(
            'bottom.leg_end', 0.97, 1.02
        )
        skirt_length = draws.uniform('bottom.long_skirt', 1.05, 1.6)
    fit = draws.choice(
        'bottom.fit',
        (0.003, 0.011, 0.024),
        (0.4 if female else 0.1, 0.42, 0.18 if female else 0.48),
    )
    return Bottom(
        colour_name=colour_name,
        colour=colour,
        dress=dress,
        one_piece=one_piece,
        short=short,
        leg_end=leg_end,
        skirt_length=skirt_length,
        flare=draws.uniform('bottom.flare', 0.0, 0.5),
        tights=dress and not domain.warm and draws.flag('bottom.tights', 0.7),
        tights_colour=np.array([0.01, 0.01, 0.012]) * draws.uniform('bottom.tights_tone', 0.7, 3),
        looseness=fit * draws.uniform('bottom.looseness', 0.8, 1.25),
        jeans=colour_name == 'blue' and draws.flag('bottom.jeans', 0.7),
        side_stripe=not dress and draws.flag('bottom.side_stripe', 0.08),
    )


def draw_shoes(draws: Draws, domain: Domain) -> Shoes:
    """Draws shoes and socks."""
    colour = draws.choice(
        'shoes.colour_name',
        ('black', 'white', 'gray', 'brown', 'red', 'blue'),
        (0.36, 0.26, 0.12, 0.12, 0.07, 0.07),
    )
    sock = draws.choice('shoes.sock_name', ('white', 'black', 'gray'), (0.5, 0.35, 0.15))
    return Shoes(
        colour=draw_colour(draws, 'shoes.colour', colour),
        light_sole=draws.flag('shoes.sole', 0.5),
        boots=draws.flag('shoes.boots', domain.boots),
        sock=draws.uniform('shoes.sock', 0.05, 0.3) if draws.flag('shoes.socks', 0.4) else 0.0,
        sock_colour=draw_colour(draws, 'shoes.sock_colour', sock),
    )


def draw_carried(draws: Draws, domain: Domain, *, female: bool) -> Carried:
    """Draws hat and bags; a person with one bag is half as likely to have another."""

    def colour(name: str, names: tuple[str, ...], weights: tuple[float, ...]) -> np.ndarray:
        return draw_colour(
            draws, f'{name}.colour', draws.choice(f'{name}.colour_name', names, weights)
        )

    hat = backpack = bag = handbag = None
    if draws.flag('hat', domain.hat):
        kind = draws.choice(
            'hat.kind', ('cap', 'beanie', 'brim'), (0.6, 0.05 if domain.warm else 0.3, 0.15)
        )
        hat = Item(
            colour('hat', UPPER_COLOURS, (0.35, 0.15, 0.1, 0.05, 0.05, 0.12, 0.12, 0.06)), kind=kind
        )
    if draws.flag('backpack', domain.backpack):
        backpack = Item(
            colour('backpack', UPPER_COLOURS, (0.42, 0.04, 0.1, 0.06, 0.04, 0.14, 0.14, 0.06)),
            size=draws.uniform('backpack.size', 0.85, 1.2),
            two_coloured=draws.flag('backpack.two_coloured', 0.35),
        )
    if draws.flag('bag', domain.bag * (0.5 if backpack else 1)):
        bag = Item(
            colour(
                'bag',
                ('black', 'brown', 'gray', 'red', 'blue', 'white', 'green'),
                (0.4, 0.25, 0.1, 0.08, 0.08, 0.05, 0.04),
            ),
            size=draws.uniform('bag.size', 0.8, 1.25),
            side=-1 if draws.flag('bag.right', 0.5) else 1,
        )
    if draws.flag(
        'handbag', domain.handbag * (1.4 if female else 0.6) * (0.5 if backpack or bag else 1)
    ):
        handbag = Item(
            colour(
                'handbag',
                ('black', 'brown', 'white', 'red', 'pink', 'yellow'),
                (0.35, 0.25, 0.15, 0.1, 0.08, 0.07),
            ),
            size=draws.uniform('handbag.size', 0.8, 1.3),
            side=-1 if draws.flag('handbag.right', 0.35) else 1,
        )
    return Carried(hat, backpack, bag, handbag)


def twin_top(own: Top, other: Top) -> Top:
    """Returns the other's garment, 5 % lighter, with one's own hem, neckline and pattern."""
    shared = (
        'kind',
        'colour_name',
        'short_sleeve',
        'sleeve_end',
        'opening',
        'inner',
        'hood',
        'collar',
        'looseness',
    )
    colour = other.colour * 1.05
    return dataclasses.replace(
        own,
        colour=colour,
        accent=_apart(own.accent, colour),
        **{name: getattr(other, name) for name in shared},
    )


def twin_bottom(own: Bottom, other: Bottom) -> Bottom:
    """Returns the other's garment, 5 % darker.

    Whether it is a skirt or trousers stays one's own.
    """
    shared = ('colour_name', 'short', 'leg_end', 'skirt_length', 'looseness', 'jeans')
    return dataclasses.replace(
        own, colour=other.colour * 0.95, **{name: getattr(other, name) for name in shared}
    )
