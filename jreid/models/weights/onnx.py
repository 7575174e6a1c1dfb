"""Initialisers of an ONNX model (`.onnx`), read from the protocol buffer's bytes: neither onnx nor
protobuf is needed, and nothing of the graph is run.

ModelProto.graph 7; GraphProto.initializer 5; TensorProto dims 1, data_type 2, float_data 4,
int32_data 5, int64_data 7, name 8, raw_data 9, double_data 10, data_location 14 (1: another file).
"""

import math
import os
import pathlib

import ml_dtypes
import numpy as np

from jreid.models.weights.tensors import WeightsError
from jreid.models.weights.wire import DAMAGE, fields, floats, integers, messages, text

# Values of TensorProto.DataType that weights have.
DTYPES: dict[object, np.dtype] = {
    1: np.dtype('<f4'),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    5: np.dtype('<i2'),
    6: np.dtype('<i4'),
    7: np.dtype('<i8'),
    9: np.dtype(np.bool_),
    10: np.dtype('<f2'),
    11: np.dtype('<f8'),
    16: np.dtype(ml_dtypes.bfloat16),
}
_HALVES = {10, 16}
"""Types whose bits lie in int32_data, one number each."""


def _tensor(data: memoryview) -> np.ndarray | None:
    """Reads the array of a TensorProto; None for kinds of data that no weight has."""
    name = text(data, 8)
    code = next((value for field, value in fields(data) if field == 2), 0)
    if any(field == 14 and value == 1 for field, value in fields(data)):
        raise WeightsError(
            f'the initialiser {name!r} lies in another file; save the model with its weights inside'
            ' (onnx.save without save_as_external_data)'
        )
    if code not in DTYPES:
        return None
    dtype, shape = DTYPES[code], integers(data, 1)
    raw = messages(data, 9)
    if raw:
        values: np.ndarray = np.frombuffer(b''.join(raw), dtype)
    elif code in (1, 11):
        values = floats(data, 4 if code == 1 else 10, dtype.str)
    else:
        numbers = np.asarray(integers(data, 7 if code == 7 else 5), np.uint64)
        values = numbers.astype(np.uint16).view(dtype) if code in _HALVES else numbers.astype(dtype)
    if math.prod(shape) != values.size:
        raise WeightsError(
            f'the initialiser {name!r} has shape {tuple(shape)} and {values.size} numbers; the file'
            ' is damaged'
        )
    return values.reshape(shape).copy()


def read_onnx(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the initialisers of an ONNX model: name -> array.

    Raises WeightsError for a file that is no ONNX model, is damaged or keeps its weights elsewhere.
    """
    arrays = {}
    try:
        for graph in messages(memoryview(pathlib.Path(path).read_bytes()), 7):
            for tensor in messages(graph, 5):
                array = _tensor(tensor)
                if array is not None:
                    arrays[text(tensor, 8)] = array
    except DAMAGE as error:
        raise WeightsError(f'{path} is no ONNX model that can be read: {error}') from error
    if not arrays:
        raise WeightsError(
            f'{path} has no initialisers; expected an ONNX model with its weights inside'
        )
    return arrays
