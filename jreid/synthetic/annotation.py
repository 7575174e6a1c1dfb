"""Writes the attributes of a tree's people in the exact form of `market_attribute.mat`."""

import io
import pathlib
from collections.abc import Iterable

import numpy as np

from jreid.synthetic.colours import LOWER_COLOURS, UPPER_COLOURS
from jreid.synthetic.generator import Generator
from jreid.synthetic.plan import TreeParameters, label, test_identities, train_identities

FILE = 'market_attribute.mat'
_HEADER = b'MATLAB 5.0 MAT-file, attributes of a jreid synthetic set'
_HEADER_BYTES = 116

_COMMON = ('age', 'backpack', 'bag', 'handbag')
_DRESS = ('clothes', 'down', 'up', 'hair', 'hat', 'gender')
# The real file orders its fields differently in the two halves; a reader that relies on the order
# fails here as it would there.
FIELDS = {
    'test': (
        *_COMMON,
        *_DRESS,
        *(f'up{c}' for c in UPPER_COLOURS),
        *(f'down{c}' for c in LOWER_COLOURS),
    ),
    'train': (
        *_COMMON,
        *(
            f'down{c}'
            for c in (
                'black',
                'blue',
                'brown',
                'gray',
                'green',
                'pink',
                'purple',
                'white',
                'yellow',
            )
        ),
        *(f'up{c}' for c in ('black', 'blue', 'green', 'gray', 'purple', 'red', 'white', 'yellow')),
        *_DRESS,
    ),
}


def _half(
    generator: Generator, domain: str, identities: Iterable[int], fields: tuple[str, ...]
) -> dict[str, np.ndarray]:
    rows = {identity: generator.attributes(domain, identity) for identity in identities}
    # The age is 1-4 already; 0 and 1 of the others become the file's 1 and 2.
    half = {
        name: np.array([[row[name] + (name != 'age') for row in rows.values()]], np.uint8)
        for name in fields
    }
    names = np.empty((1, len(rows)), object)
    names[0, :] = [label(identity) for identity in rows]
    return half | {'image_index': names}


def write_attributes(folder: pathlib.Path, parameters: TreeParameters) -> None:
    """Writes `market_attribute.mat`: a struct with halves test and train.

    Each half has uint8 rows (1 no, 2 yes; age 1-4) and `image_index`.
    """
    # Imported here, since the worker processes do without it.
    from scipy.io import savemat

    generator = Generator(parameters.seed, parameters.size, parameters.strength)
    halves = {'test': test_identities(parameters), 'train': train_identities(parameters)}
    struct = {
        half: _half(generator, parameters.domain, identities, FIELDS[half])
        for half, identities in halves.items()
    }
    buffer = io.BytesIO()
    savemat(buffer, {'market_attribute': struct}, do_compression=True)
    # The header contains the time of day; without it, equal parameters give equal bytes.
    (folder / FILE).write_bytes(_HEADER.ljust(_HEADER_BYTES) + buffer.getvalue()[_HEADER_BYTES:])
