"""PyTorch's `.pth` files without PyTorch: the zip archive of PyTorch 1.6 and later, and the
stream before it, read as numpy arrays. No code in them runs.
"""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from jreid.models.weights.pickles import Machine, Storage, Tensor, Unknown, storages_of
from jreid.models.weights.tensors import WeightsError, shortened, storage_from_bytes, strided_tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_PICKLE = 1 << 28
DICTIONARIES = (
    ('state_dict', 'model_state_dict', 'model', 'net', 'network', 'params')
    + ('teacher', 'student', 'encoder', 'backbone', 'module')  # DINO's teacher is what it evaluates
    + ('model_ema', 'state_dict_ema', 'ema_state_dict', 'ema')
)
"""Where a training program keeps the network, the first of which is taken."""


def _open_storage(raw: bytes, storage: Storage, swap: bool) -> np.ndarray:
    if len(raw) != storage.size * storage.dtype.itemsize:
        raise WeightsError(
            f'storage {storage.key} has {len(raw)} bytes; expected {storage.size} x'
            f' {storage.dtype.itemsize}. The file is cut short or damaged.'
        )
    return storage_from_bytes(raw, storage.dtype, swap=swap)


def _read_zip(stream: IO[bytes]) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    archive = zipfile.ZipFile(stream)
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count('/') == 1 and name.endswith('/data.pkl')]
    if len(pickles) != 1:
        raise WeightsError(
            f'the archive has {len(pickles)} data.pkl among {len(entries)} entries; expected one,'
            ' as torch.save writes it'
        )
    folder = pickles[0].split('/')[0]
    if f'{folder}/constants.pkl' in entries:
        raise WeightsError(
            'the file is a TorchScript program; expected a state_dict. Load it in PyTorch and save'
            ' model.state_dict().'
        )

    def take(name: str, limit: int) -> bytes:
        entry = entries[f'{folder}/{name}']
        # torch.save never compresses; a bomb does
        if entry.file_size > limit or entry.compress_type != zipfile.ZIP_STORED:
            raise WeightsError(
                f'the entry {entry.filename} has {entry.file_size} bytes; expected at most {limit},'
                ' uncompressed. The file is damaged.'
            )
        return archive.read(entry)

    swap = f'{folder}/byteorder' in entries and take('byteorder', 16) == b'big'
    value = Machine().run(io.BytesIO(take('data.pkl', MAX_PICKLE)))
    return value, lambda s: _open_storage(take(f'data/{s.key}', s.size * s.dtype.itemsize), s, swap)


def _read_legacy(stream: IO[bytes]) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    magic, protocol, system = (Machine().run(stream) for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise WeightsError(
            'the file begins like a pickle, but not like one of torch.save; expected a PyTorch .pth'
            ' file'
        )
    value = Machine().run(stream)
    keys = Machine().run(stream)
    start, size = stream.tell(), stream.seek(0, os.SEEK_END)
    swap = system.get('little_endian') is False
    places: dict[str, int] = {}

    # Before each storage stands its number of elements, but not their width, which the tensors of
    # the pickle know.
    widths = {s.key: s.dtype.itemsize for s in storages_of(value) if isinstance(s, Storage)}
    for key in keys:
        stream.seek(start)
        count = struct.unpack('>q' if swap else '<q', stream.read(8))[0]
        places[key] = start + 8
        start += 8 + count * widths[key]
        if count < 0 or start > size:
            raise WeightsError(
                f'storage {key} would end at byte {start} of {size}; the file is cut short or'
                ' damaged'
            )

    def open_one(storage: Storage) -> np.ndarray:
        if storage.key not in places:
            raise WeightsError(
                f'storage {storage.key} is not in the file, which has {len(places)}; it is damaged'
            )
        stream.seek(places[storage.key])
        wanted = storage.size * storage.dtype.itemsize
        return _open_storage(stream.read(min(wanted, size)), storage, swap)

    return value, open_one


def find_state_dict(value: Any, prefix: str = '') -> tuple[dict[str, Any], str]:
    """Finds the dictionary of tensors in what a file holds, and the prefix of its names.

    A dictionary that `prefix` names ('teacher.', 'model_ema.module.') is taken, and its names begin
    with that name. Otherwise it is the first of `DICTIONARIES`, also nested, then the file itself,
    then the only dictionary of tensors in it.
    """
    begin, rest = '', prefix
    while isinstance(value, dict):
        key = next((k for k in value if isinstance(k, str) and k and _leads(value, k, rest)), None)
        if key is None:
            break
        value, begin, rest = value[key], f'{begin}{key}.', rest.removeprefix(key)[1:]
    top = value
    for _ in range(4):
        inside = [k for k in DICTIONARIES if isinstance(value, dict) and _holds(value.get(k))]
        if not inside:
            break
        value = value[inside[0]]
    if _is_network(value):
        return value, begin
    named = {k: v for k, v in value.items() if _is_network(v)} if isinstance(value, dict) else {}
    if len(named) == 1:
        return next(iter(named.values())), begin
    if named:
        raise WeightsError(
            f'the file has {len(named)} dictionaries of tensors, {shortened(list(named))}; name one'
            f" by model.weights_prefix, e.g. '{next(iter(named))}.'"
        )
    raise WeightsError(_nothing(top))


def _leads(value: dict[Any, Any], key: str, prefix: str) -> bool:
    """Returns whether `prefix` begins with a key that holds dictionaries or tensors."""
    return f'{prefix}.'.startswith(f'{key}.') and _holds(value[key])


def _is_network(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(v, Tensor) for v in value.values())


def _holds(value: Any) -> bool:
    """Returns whether a value is a dictionary of tensors, or of one."""
    return isinstance(value, dict) and (
        _is_network(value) or any(_is_network(v) for v in value.values())
    )


def _nothing(value: Any) -> str:
    """Returns the message for a file without a dictionary of tensors, with what would help."""
    if isinstance(value, Unknown):
        return (
            f'the file holds an object of {value.maker}, which jreid never builds; load it with the'
            ' program that made it and save its weights alone: torch.save(model.state_dict(), path)'
        )
    if isinstance(value, dict):
        contents = shortened(list(value)[:10])
        objects = [v for v in value.values() if isinstance(v, Unknown)]
        if objects:
            contents += f', among them an object of {objects[0].maker}, which jreid never builds'
    else:
        contents = type(value).__name__
    return (
        f'no dictionary of tensors in the file: found {contents}; expected a state_dict, itself or'
        f' under one of {DICTIONARIES}. In PyTorch: torch.save(model.state_dict(), path)'
    )


def read_torch(path: str | os.PathLike[str], prefix: str = '') -> dict[str, np.ndarray]:
    """Reads a `.pth` state_dict: name -> array, in the file's order.

    Values that are no tensors (an epoch number, the program's arguments) are left out. `prefix` may
    begin with the name of one of several dictionaries, see `find_state_dict`. Raises WeightsError
    for a file that is damaged, that has a tensor built by what jreid never runs, or that is no
    PyTorch file.
    """
    with open(path, 'rb') as stream:
        try:
            zipped = stream.read(4) == b'PK\x03\x04'
            stream.seek(0)
            value, opener = (_read_zip if zipped else _read_legacy)(stream)
            opened: dict[Storage, np.ndarray] = {}
            arrays = {}
            named, begin = find_state_dict(value, prefix)
            for name, tensor in named.items():
                if isinstance(tensor, Unknown) and storages_of(tensor):
                    raise WeightsError(
                        f'the tensor {name!r} is built by {tensor.maker}, which jreid never runs;'
                        ' load the file in PyTorch, turn it into a plain tensor and save again'
                    )
                if isinstance(tensor, Tensor) and isinstance(name, str):
                    if tensor.storage not in opened:
                        opened[tensor.storage] = opener(tensor.storage)
                    arrays[begin + name] = strided_tensor(
                        opened[tensor.storage], tensor.offset, tensor.shape, tensor.stride
                    )
        except WeightsError as error:
            raise WeightsError(f'{path}: {error}') from error
        # Damaged bytes can break the parsers of zip, pickle and numpy in any way they like;
        # whatever it is, the file is at fault, and the cause is kept.
        except Exception as error:
            raise WeightsError(
                f'{path} is not a PyTorch file that can be read ({type(error).__name__}: {error});'
                ' it is damaged or of another kind'
            ) from error
    return arrays
