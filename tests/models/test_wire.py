"""Protocol buffers by hand: every wire kind, packed or not, and bytes that are no message."""

import numpy as np
import pytest

from jreid.models.weights import wire
from jreid.models.weights.tensors import WeightsError

# Fields 1 (varint 300), 2 ('né'), 3 (float 1.5), 4 (double -2), 5 (varints 1 and 300, packed), and
# 5 once more (varint 7), as the specification of the encoding writes them.
MESSAGE = memoryview(
    b'\x08\xac\x02'
    b'\x12\x03n\xc3\xa9'
    b'\x1d\x00\x00\xc0\x3f'
    b'\x21\x00\x00\x00\x00\x00\x00\x00\xc0'
    b'\x2a\x03\x01\xac\x02'
    b'\x28\x07'
)


def test_every_kind_of_field_is_read():
    assert [number for number, _ in wire.fields(MESSAGE)] == [1, 2, 3, 4, 5, 5]
    assert wire.integers(MESSAGE, 1) == [300]
    assert wire.integers(MESSAGE, 5) == [1, 300, 7]
    assert (wire.text(MESSAGE, 2), wire.text(MESSAGE, 9)) == ('né', '')
    np.testing.assert_array_equal(wire.floats(MESSAGE, 3, '<f4'), [1.5])
    np.testing.assert_array_equal(wire.floats(MESSAGE, 4, '<f8'), [-2])
    assert wire.messages(MESSAGE, 1) == []


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'\x12\x05ab', 'a field of 5 bytes where 2 are left; the file is cut short'),
        (b'\x1d\x00', 'a field of 4 bytes where 1 are left'),
        (b'\x0b', 'a field of wire kind 3'),
        (b'\x08' + b'\xff' * 10, 'a number of more than 64 bits'),
    ],
)
def test_bytes_that_are_no_message_are_named(data, message):
    with pytest.raises(WeightsError, match=message):
        list(wire.fields(memoryview(data)))
