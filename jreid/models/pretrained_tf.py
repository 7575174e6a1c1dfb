"""Constants of a frozen TensorFlow graph (`.pb`), read from the protocol buffer's bytes: TensorFlow is not needed, and nothing of the graph is run.

Wire format: a message is a series of (key, value), key = field << 3 | kind; kind 0 is a varint, 1 eight bytes, 2 a length and bytes, 5 four bytes.
GraphDef.node 1; NodeDef name 1, op 2, attr 5 (map entry: key 1, value 2); AttrValue.tensor 8; TensorProto dtype 1, tensor_shape 2, tensor_content 4,
float_val 5; TensorShapeProto.dim 2, Dim.size 1.
"""

import math
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from jreid.models.pretrained_tensors import WeightsError

# Values of tensorflow.DataType that weights have.
DTYPES: dict[object, np.dtype] = {1: np.dtype('<f4'), 2: np.dtype('<f8'), 3: np.dtype('<i4'), 9: np.dtype('<i8'), 19: np.dtype('<f2')}
Field = tuple[int, int | memoryview]


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
            raise WeightsError('a number of more than 64 bits; the file is damaged or no frozen graph')


def _fields(data: memoryview) -> Iterator[Field]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise WeightsError(f'a field of wire kind {kind}; the file is damaged or no frozen graph')
        length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + length > len(data):
            raise WeightsError(f'a field of {length} bytes where {len(data) - at} are left; the file is cut short or no frozen graph')
        yield key >> 3, data[at : at + length]
        at += length


def _messages(data: memoryview, number: int) -> list[memoryview]:
    return [value for field, value in _fields(data) if field == number and isinstance(value, memoryview)]


def _text(data: memoryview, number: int) -> str:
    return bytes(next(iter(_messages(data, number)), b'')).decode('utf-8')


def _tensor(data: memoryview) -> np.ndarray | None:
    """The array of a TensorProto; None for kinds of data that no weight has."""
    code = next((value for field, value in _fields(data) if field == 1), 0)
    dims = [dim for shape in _messages(data, 2) for dim in _messages(shape, 2)]
    shape = [int(next((value for field, value in _fields(dim) if field == 1), 0)) for dim in dims]  # type: ignore[arg-type]
    content, floats = _messages(data, 4), _messages(data, 5)
    if code not in DTYPES:
        return None
    dtype = DTYPES[code]
    raw = b''.join(content) if content else b''.join(floats) if dtype == np.dtype('<f4') else b''
    values: np.ndarray = np.frombuffer(raw, dtype)
    size = math.prod(shape)
    if values.size == 1 and size <= 1 << 24:
        values = np.repeat(values, size)
    return values.reshape(shape).copy() if values.size == size else None


def read_frozen_graph(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Name -> array of the constant nodes. Raises WeightsError for a file that is no frozen graph or is damaged."""
    arrays = {}
    try:
        for node in _messages(memoryview(pathlib.Path(path).read_bytes()), 1):
            if _text(node, 2) != 'Const':
                continue
            for entry in _messages(node, 5):
                if _text(entry, 1) == 'value':
                    tensors = [tensor for value in _messages(entry, 2) for tensor in _messages(value, 8)]
                    array = _tensor(tensors[0]) if tensors else None
                    if array is not None:
                        arrays[_text(node, 1)] = array
    except (WeightsError, IndexError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise WeightsError(f'{path} is no frozen TensorFlow graph that can be read: {error}') from error
    if not arrays:
        raise WeightsError(f'{path} has no constants; expected a frozen TensorFlow graph with its weights inside')
    return arrays
