"""Protocol buffers read field by field, without descriptions of the messages and without running
anything.

A message is a series of (key, value), where key = field << 3 | kind. Kind 0 is a varint, 1 eight
bytes, 2 a length and bytes, 5 four bytes.
"""

from collections.abc import Iterator

import numpy as np

from jreid.models.weights.tensors import WeightsError

Field = tuple[int, int | memoryview]
DAMAGE = (WeightsError, IndexError, UnicodeDecodeError, ValueError, OverflowError)
"""What reading damaged bytes raises."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise WeightsError(
                'a number of more than 64 bits; the file is damaged or of another kind'
            )


def fields(data: memoryview) -> Iterator[Field]:
    """Yields (number, value) of every field in order.

    A value is an int for varints, the bytes for the other kinds. Raises WeightsError or IndexError
    for bytes that are no message.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise WeightsError(
                f'a field of wire kind {kind}; the file is damaged or of another kind'
            )
        length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + length > len(data):
            raise WeightsError(
                f'a field of {length} bytes where {len(data) - at} are left; the file is cut short'
                ' or of another kind'
            )
        yield key >> 3, data[at : at + length]
        at += length


def messages(data: memoryview, number: int) -> list[memoryview]:
    """Lists the bytes of every field of that number."""
    return [
        value for field, value in fields(data) if field == number and isinstance(value, memoryview)
    ]


def text(data: memoryview, number: int) -> str:
    """Returns the first field of that number as a string, '' where there is none."""
    return bytes(next(iter(messages(data, number)), b'')).decode('utf-8')


def integers(data: memoryview, number: int) -> list[int]:
    """Lists the varints of a repeated field, packed into one or each for itself."""
    values = []
    for field, value in fields(data):
        if field == number and isinstance(value, int):
            values.append(value)
        elif field == number and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                values.append(one)
    return values


def floats(data: memoryview, number: int, dtype: str) -> np.ndarray:
    """Returns the numbers of a repeated float ('<f4') or double ('<f8') field, packed or not."""
    return np.frombuffer(b''.join(messages(data, number)), dtype)
