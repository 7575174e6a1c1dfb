"""The error of all weight readers, and tensors cut out of raw storages with every bound checked."""

import math
import reprlib

import ml_dtypes
import numpy as np


class WeightsError(ValueError):
    """A weight file is damaged, refused or does not fit; the message says what was found, what
    was expected and what to do.
    """


# An expanded tensor (stride 0) may have more elements than its storage; past this many it is an
# attack on memory, not a weight.
MAX_EXPANDED = 1 << 24

STORAGE_DTYPES: dict[str, np.dtype] = {
    'DoubleStorage': np.dtype(np.float64),
    'FloatStorage': np.dtype(np.float32),
    'HalfStorage': np.dtype(np.float16),
    'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
    'LongStorage': np.dtype(np.int64),
    'IntStorage': np.dtype(np.int32),
    'ShortStorage': np.dtype(np.int16),
    'CharStorage': np.dtype(np.int8),
    'ByteStorage': np.dtype(np.uint8),
    'BoolStorage': np.dtype(np.bool_),
}


def shortened(value: object) -> str:
    """Formats a value from a file in bounded length.

    Its plain text can be exponentially long where lists share lists.
    """
    return reprlib.repr(value)[:200]


def is_count(value: object) -> bool:
    """Returns True for an int of at least 0 that is not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def storage_from_bytes(raw: bytes, dtype: np.dtype, *, swap: bool = False) -> np.ndarray:
    """Returns the flat array of a storage's little-endian bytes (big-endian where `swap`)."""
    if swap and dtype.itemsize > 1:
        return np.frombuffer(raw, f'u{dtype.itemsize}').byteswap().view(dtype)
    if dtype == np.bool_:
        return np.frombuffer(raw, np.uint8) != 0
    return np.frombuffer(raw, dtype)


def strided_tensor(
    storage: np.ndarray, offset: object, shape: object, stride: object
) -> np.ndarray:
    """Copies the tensor at `offset` of a flat storage, `shape` and `stride` in elements.

    Raises WeightsError where a number is not a count or the tensor leaves the storage.
    """
    numbers = (
        (offset, *shape, *stride)
        if isinstance(shape, tuple | list) and isinstance(stride, tuple | list)
        else (None,)
    )
    if (
        not all(is_count(n) for n in numbers)
        or len(shape) != len(stride)  # type: ignore[arg-type]
        or len(shape) > 32  # type: ignore[arg-type]
    ):
        layout = (
            f'offset {shortened(offset)}, shape {shortened(shape)} and strides {shortened(stride)}'
        )
        raise WeightsError(
            f'a tensor has {layout}; expected counts, one stride per dimension. The file is'
            ' damaged.'
        )
    start = int(offset)  # type: ignore[call-overload]
    sizes = tuple(map(int, shape))  # type: ignore[call-overload]
    steps = tuple(map(int, stride))  # type: ignore[call-overload]
    elements = math.prod(sizes)
    if elements == 0:
        return np.zeros(tuple(min(size, 1 << 31) for size in sizes), storage.dtype)
    last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if last >= storage.size or elements > max(storage.size, MAX_EXPANDED):
        raise WeightsError(
            f'a tensor of shape {sizes}, strides {steps} and offset {start} does not fit its'
            f' storage of {storage.size} elements. The file is damaged.'
        )
    view = np.lib.stride_tricks.as_strided(
        storage[start:], sizes, [step * storage.itemsize for step in steps], writeable=False
    )
    return np.array(view, order='C')
