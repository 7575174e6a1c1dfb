"""Constants of a frozen TensorFlow graph (`.pb`), read from the protocol buffer's bytes: TensorFlow
is not needed, and nothing of the graph is run.

GraphDef.node 1; NodeDef name 1, op 2, attr 5 (map entry: key 1, value 2); AttrValue.tensor 8;
TensorProto dtype 1, tensor_shape 2, tensor_content 4, float_val 5; TensorShapeProto.dim 2, Dim.size
1.
"""

import math
import os
import pathlib

import numpy as np

from jreid.models.weights.tensors import WeightsError
from jreid.models.weights.wire import DAMAGE, fields, messages, text

# Values of tensorflow.DataType that weights have.
DTYPES: dict[object, np.dtype] = {
    1: np.dtype('<f4'),
    2: np.dtype('<f8'),
    3: np.dtype('<i4'),
    9: np.dtype('<i8'),
    19: np.dtype('<f2'),
}


def _tensor(data: memoryview) -> np.ndarray | None:
    """Reads the array of a TensorProto; None for kinds of data that no weight has."""
    code = next((value for field, value in fields(data) if field == 1), 0)
    dims = [dim for shape in messages(data, 2) for dim in messages(shape, 2)]
    sizes = [next((value for field, value in fields(dim) if field == 1), 0) for dim in dims]
    shape = [int(size) for size in sizes]  # type: ignore[arg-type]
    content, floats = messages(data, 4), messages(data, 5)
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
    """Reads the constant nodes of a frozen graph: name -> array.

    Raises WeightsError for a file that is no frozen graph or is damaged.
    """
    arrays = {}
    try:
        for node in messages(memoryview(pathlib.Path(path).read_bytes()), 1):
            if text(node, 2) != 'Const':
                continue
            for entry in messages(node, 5):
                if text(entry, 1) == 'value':
                    tensors = [
                        tensor for value in messages(entry, 2) for tensor in messages(value, 8)
                    ]
                    array = _tensor(tensors[0]) if tensors else None
                    if array is not None:
                        arrays[text(node, 1)] = array
    except DAMAGE as error:
        raise WeightsError(
            f'{path} is no frozen TensorFlow graph that can be read: {error}'
        ) from error
    if not arrays:
        raise WeightsError(
            f'{path} has no constants; expected a frozen TensorFlow graph with its weights inside'
        )
    return arrays
