"""Plans the images of a tree and their names: a pure function of its parameters."""

import dataclasses
from numbers import Integral

from jreid.synthetic.domains import find_domain, with_strength
from jreid.synthetic.generator import Key
from jreid.synthetic.identity import STRANGERS
from jreid.synthetic.scene import CAMERAS

TRAIN, QUERY, GALLERY = 'bounding_box_train', 'query', 'bounding_box_test'
SPLITS = (TRAIN, QUERY, GALLERY)

# Test people are numbered from here, so that they stay the same for any number of training
# identities. The number is even, so that twins (an even number and the next) stay together.
FIRST_TEST_IDENTITY = 5000
# Names of files have four digits, and person n is called n + 1 there.
_LAST_IDENTITY = 9998
_DISTRACTORS, _JUNK = 2 * STRANGERS, 3 * STRANGERS
_FRAMES_BETWEEN_IMAGES = 25


@dataclasses.dataclass(frozen=True)
class TreeParameters:
    """Everything that decides a tree's bytes."""

    domain: str = 'plaza'
    identities: int = 64
    test_identities: int = 64
    cameras: int = CAMERAS
    images_per_camera: int = 4
    distractors: int = 32
    junk: int = 16
    size: tuple[int, int] = (128, 64)
    seed: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.strength, int | float) or isinstance(self.strength, bool):
            raise ValueError(f'strength is {self.strength!r}; expected a number')
        if not _is_whole(self.seed):
            raise ValueError(f'seed is {self.seed!r}; expected a whole number')
        object.__setattr__(self, 'strength', float(self.strength))
        with_strength(find_domain(self.domain), self.strength)
        bounds = {
            'identities': (1, FIRST_TEST_IDENTITY - 1, ''),
            'test_identities': (1, _LAST_IDENTITY - FIRST_TEST_IDENTITY, ''),
            'cameras': (2, CAMERAS, ' (the matches of a query are in the other cameras)'),
            'images_per_camera': (
                2,
                1000,
                ' (of a test identity the first is the query, the others the gallery)',
            ),
            'distractors': (0, 20_000, ''),
            'junk': (0, 20_000, ''),
        }
        for name, (low, high, why) in bounds.items():
            value = getattr(self, name)
            if not _is_whole(value) or not low <= value <= high:
                raise ValueError(f'{name} is {value!r}; expected {low} to {high}{why}')
        size = tuple(self.size) if isinstance(self.size, tuple | list) else ()
        if len(size) != 2 or not all(_is_whole(side) and side >= 16 for side in size):
            raise ValueError(
                f'size is {self.size!r}; expected (height, width) of at least 16 pixels'
            )
        object.__setattr__(self, 'size', size)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One image: the split's folder, its name without a suffix, and the generator's key."""

    split: str
    name: str
    key: Key


def train_identities(parameters: TreeParameters) -> range:
    """Returns the generator's numbers of the training people.

    Their files carry the number plus one.
    """
    return range(parameters.identities)


def test_identities(parameters: TreeParameters) -> range:
    """Returns the generator's numbers of the test people."""
    return range(FIRST_TEST_IDENTITY, FIRST_TEST_IDENTITY + parameters.test_identities)


test_identities.__test__ = False  # type: ignore[attr-defined]  # not one of pytest's


def label(identity: int) -> str:
    """Returns a person's name in files and annotations.

    Market-1501 counts from one, as 0 is a distractor.
    """
    return f'{identity + 1:04d}'


def _name(person: str, camera: int, index: int, box: int) -> str:
    return f'{person}_c{camera + 1}s1_{1 + _FRAMES_BETWEEN_IMAGES * index:06d}_{box:02d}'


def plan_tree(parameters: TreeParameters) -> list[Entry]:
    """Lists all images of a tree, person by person.

    Queries are boxes 00, as if drawn by hand; the others are detections, 01.
    """
    entries = []
    for identity in train_identities(parameters):
        for camera in range(parameters.cameras):
            for index in range(parameters.images_per_camera):
                entries.append(
                    Entry(
                        TRAIN, _name(label(identity), camera, index, 1), (identity, camera, index)
                    )
                )
    for identity in test_identities(parameters):
        for camera in range(parameters.cameras):
            for index in range(parameters.images_per_camera):
                split, box = (QUERY, 0) if index == 0 else (GALLERY, 1)
                entries.append(
                    Entry(
                        split, _name(label(identity), camera, index, box), (identity, camera, index)
                    )
                )
    for person, first, count in (
        ('0000', _DISTRACTORS, parameters.distractors),
        ('-1', _JUNK, parameters.junk),
    ):
        for k in range(count):
            camera, index = k % parameters.cameras, k // parameters.cameras
            entries.append(Entry(GALLERY, _name(person, camera, index, 1), (first + k, camera, 0)))
    return entries
