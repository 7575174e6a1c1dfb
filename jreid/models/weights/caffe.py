"""Caffe's weights: a `.caffemodel` read from the protocol buffer's bytes, and `.npz` files of a
Caffe network's arrays. Neither Caffe nor protobuf is needed.

NetParameter: layer 100, in older files layers 2. LayerParameter: name 1, blobs 7. V1LayerParameter:
name 4, blobs 6 (in the oldest files a nested layer 1). BlobProto: data 5 (float), double_data 8,
shape 7 (BlobShape.dim 1), in older files num 1, channels 2, height 3, width 4.
"""

import math
import os
import pathlib
import zipfile
import zlib

import numpy as np

from jreid.models.weights.tensors import WeightsError
from jreid.models.weights.wire import DAMAGE, floats, integers, messages, text

LEAVES = ('weight', 'bias')
"""Names of a layer's first and second blob."""
MAX_ARRAYS = 1 << 33
"""Bytes that the arrays of an .npz may unpack to."""


def _blob(data: memoryview) -> np.ndarray:
    """Reads the array of a BlobProto.

    A shape of the older kind, always four numbers, loses the ones in front.
    """
    values = floats(data, 5, '<f4')
    if not values.size:
        values = floats(data, 8, '<f8')
    shapes = messages(data, 7)
    if shapes:
        shape = integers(shapes[0], 1)
    else:
        shape = [next(iter(integers(data, number)), 1) for number in (1, 2, 3, 4)]
        while len(shape) > 1 and shape[0] == 1:
            shape = shape[1:]
    if math.prod(shape) != values.size:
        raise WeightsError(
            f'a blob of shape {tuple(shape)} with {values.size} numbers; the file is damaged'
        )
    return values.reshape(shape).copy()


def read_caffemodel(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a `.caffemodel`: '<layer>.weight' and '<layer>.bias' -> array, as Caffe has it.

    Convolutions are [out, in / groups, height, width], fully connected layers [out, in]. Layers of
    more than two blobs keep the others as '<layer>.2' and so on. Raises WeightsError for a file
    that is no `.caffemodel` or is damaged.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        data = memoryview(pathlib.Path(path).read_bytes())
        layers = [(layer, 1, 7) for layer in messages(data, 100)] + [
            (layer, 4, 6) for layer in messages(data, 2)
        ]
        for layer, name_field, blobs_field in layers:
            if name_field == 4 and messages(layer, 1):
                raise WeightsError(
                    "its layers are of Caffe's first format, before 2014; convert it with Caffe's"
                    ' upgrade_net_proto_binary'
                )
            for number, blob in enumerate(messages(layer, blobs_field)):
                leaf = LEAVES[number] if number < len(LEAVES) else str(number)
                arrays[f'{text(layer, name_field)}.{leaf}'] = _blob(blob)
    except DAMAGE as error:
        raise WeightsError(f'{path} is no .caffemodel that can be read: {error}') from error
    if not arrays:
        raise WeightsError(
            f'{path} has no layer with weights; expected a .caffemodel (not a .prototxt, which'
            ' describes a network without its weights)'
        )
    return arrays


def order_of(path: str | os.PathLike[str]) -> str:
    """Returns which of Caffe's two networks of the same arrays a `.caffemodel` holds.

    Returns:
      'caffenet' where a pooling layer stands before the first normalisation, 'alexnet' where that
      comes first, '' where the file lists none of the two or cannot be read.
    """
    try:
        data = memoryview(pathlib.Path(path).read_bytes())
        layers = [text(layer, 1) for layer in messages(data, 100)]
        layers += [text(layer, 4) for layer in messages(data, 2)]
    except DAMAGE:
        return ''
    first = next((name for name in layers if name.startswith(('pool', 'norm'))), '')
    return {'pool': 'caffenet', 'norm': 'alexnet'}.get(first[:4], '')


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads an `.npz` file: name -> array.

    Arrays of Python objects are refused, so that no code of the file runs. Raises WeightsError for
    a file that is damaged, or that unpacks to more than `MAX_ARRAYS`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_ARRAYS:
            raise WeightsError(f'it unpacks to {size:,} bytes; expected at most {MAX_ARRAYS:,}')
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (
        WeightsError,
        OSError,
        ValueError,
        EOFError,
        KeyError,
        RuntimeError,
        MemoryError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        raise WeightsError(f'{path} is no .npz of arrays that can be read: {error}') from error
