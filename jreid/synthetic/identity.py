"""Draws a person from (seed, domain, identity), and reads off their attributes.

A person has a body, hair, clothes, bags and a gait.
"""

import dataclasses

import numpy as np

from jreid.synthetic import wardrobe
from jreid.synthetic.colours import GRAY_HAIR, HAIR, LOWER_COLOURS, SKIN, UPPER_COLOURS
from jreid.synthetic.domains import Domain
from jreid.synthetic.draws import Draws
from jreid.synthetic.wardrobe import Bottom, Carried, Shoes, Top

YOUNG, TEENAGER, ADULT, OLD = range(4)

# Identities from here on are no labels: passers-by, distractors and junk. They have no twins.
STRANGERS = 100_000
_KEY_PERSON, _KEY_TWIN = 1, 5
_TWIN_SHARE = 0.35


@dataclasses.dataclass(frozen=True)
class Body:
    """Shape of the unclothed body; weight 0 is average, +-1 the mesh's extremes."""

    female: bool
    age: int  # YOUNG, TEENAGER, ADULT, OLD
    gender_mix: float  # 0 woman, 1 man
    weight: float
    muscle: float
    old: float
    child: float
    height: float  # metres
    skin: np.ndarray


@dataclasses.dataclass(frozen=True)
class Hair:
    """Hair; the style is one of bald, short, loose, bob, pony."""

    long: bool
    style: str
    volume: float  # metres above the scalp
    colour: np.ndarray
    beard: bool


@dataclasses.dataclass(frozen=True)
class Gait:
    """How a person walks; angles in radians."""

    stride: float
    swing: float
    elbow: float
    lean: float
    toe_out: float
    arm_out: float


@dataclasses.dataclass(frozen=True)
class Identity:
    """Everything that stays the same from image to image."""

    body: Body
    hair: Hair
    top: Top
    bottom: Bottom
    shoes: Shoes
    carried: Carried
    gait: Gait


def _draw_body(draws: Draws, domain: Domain) -> Body:
    female = draws.flag('female', 0.46)
    age = draws.choice('age', (YOUNG, TEENAGER, ADULT, OLD), domain.age)
    grown = (1.63 if female else 1.76) * (1 + draws.normal('height', 0.035))
    return Body(
        female=female,
        age=age,
        gender_mix=float(
            np.clip((0.08 if female else 0.92) + draws.normal('gender_mix', 0.06), 0, 1)
        ),
        weight=draws.normal('weight', 0.75) + (0.2 if age >= ADULT else -0.15),
        muscle=max(0.0, draws.normal('muscle', 0.5)),
        old=draws.uniform('old', 0.6, 1) if age == OLD else 0.0,
        child=draws.uniform('child', 0.5, 1) if age == YOUNG else 0.0,
        height=draws.uniform('height.young', 1.15, 1.45) if age == YOUNG else grown,
        skin=SKIN[draws.choice('skin', range(5), (0.32, 0.30, 0.18, 0.12, 0.08))]
        * draws.uniform('skin.tone', 0.88, 1.1),
    )


def _draw_hair(draws: Draws, body: Body) -> Hair:
    colour = draws.choice('hair.colour', range(7), (0.38, 0.26, 0.16, 0.08, 0.05, 0.02, 0.05))
    if body.age == OLD and draws.flag('hair.gray', 0.7):
        colour = GRAY_HAIR
    long = draws.flag('hair.long', 0.68 if body.female else 0.05)
    grown_man = not body.female and body.age >= ADULT
    if long:
        style = draws.choice('hair.style', ('loose', 'bob', 'pony'), (0.5, 0.25, 0.25))
    else:
        style = 'bald' if grown_man and draws.flag('hair.bald', 0.08) else 'short'
    return Hair(
        long=long,
        style=style,
        volume=draws.uniform('hair.volume', 0.008, 0.024),
        colour=HAIR[colour] * draws.uniform('hair.tone', 0.7, 1.4),
        beard=grown_man and draws.flag('hair.beard', 0.3),
    )


def _draw_gait(draws: Draws) -> Gait:
    return Gait(
        stride=draws.uniform('stride', 0.75, 1.2),
        swing=draws.uniform('swing', 0.5, 1.3),
        elbow=draws.uniform('elbow', -0.15, 0.25),
        lean=draws.uniform('lean', -0.02, 0.10),
        toe_out=draws.uniform('toe_out', -0.05, 0.2),
        arm_out=draws.uniform('arm_out', 0.0, 0.10),
    )


def _draw_alone(seed: int, domain: Domain, identity: int) -> Identity:
    draws = Draws(seed, domain.key, _KEY_PERSON, identity)
    body = _draw_body(draws, domain)
    hair = _draw_hair(draws, body)
    top = wardrobe.draw_top(draws, domain, female=body.female)
    bottom = wardrobe.draw_bottom(draws, domain, top, female=body.female)
    shoes = wardrobe.draw_shoes(draws, domain)
    carried = wardrobe.draw_carried(draws, domain, female=body.female)
    return Identity(body, hair, top, bottom, shoes, carried, _draw_gait(draws))


def draw_identity(seed: int, domain: Domain, identity: int) -> Identity:
    """Draws the person of this number.

    35 % of the odd numbers are twins: they wear the garments of the even number before, in nearly
    its colours. Body, hair, pattern, shoes and bags are their own. With these hard negatives, the
    colours of clothes do not identify everybody.
    """
    person = _draw_alone(seed, domain, identity)
    if (
        identity % 2 == 0
        or identity >= STRANGERS
        or not Draws(seed, domain.key, _KEY_TWIN, identity).flag('twin', _TWIN_SHARE)
    ):
        return person
    other = _draw_alone(seed, domain, identity - 1)
    if person.bottom.one_piece or other.bottom.one_piece:
        return person
    return dataclasses.replace(
        person,
        top=wardrobe.twin_top(person.top, other.top),
        bottom=wardrobe.twin_bottom(person.bottom, other.bottom),
    )


def attributes(person: Identity) -> dict[str, int]:
    """Returns Market-1501's 27 attributes, by the names of its annotation file.

    `age` is 1-4 (young, teenager, adult, old), the others are 0 or 1. 1 stands for the file's 2: a
    bag of the kind, a hat, long hair, a woman, short sleeves (`up`), short trousers or skirt
    (`down`). For `clothes` it stands for no dress: the file's 1 is a dress, its 2 are pants. The
    attributes come from the fields that the images are made from.
    """
    carried = person.carried
    values = {
        'age': person.body.age + 1,
        'backpack': carried.backpack is not None,
        'bag': carried.bag is not None,
        'handbag': carried.handbag is not None,
        'clothes': not person.bottom.dress,
        'down': person.bottom.short,
        'up': person.top.short_sleeve,
        'hair': person.hair.long,
        'hat': carried.hat is not None,
        'gender': person.body.female,
    }
    values |= {f'up{name}': person.top.colour_name == name for name in UPPER_COLOURS}
    values |= {f'down{name}': person.bottom.colour_name == name for name in LOWER_COLOURS}
    return {name: int(value) for name, value in values.items()}
