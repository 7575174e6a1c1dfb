"""Writes files as torch.save does, without torch: the zip archive and the stream before it.

Arrays stand for tensors. The pickle names torch's functions, which modules hold that are made for
the moment.
"""

import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

STORAGES = {
    'float32': 'FloatStorage',
    'int64': 'LongStorage',
    'float16': 'HalfStorage',
    'complex64': 'ComplexFloatStorage',
}


class Tensor:
    """An array that pickles as a tensor, or by another function of torch."""

    def __init__(self, array, function='torch._utils._rebuild_tensor_v2', *, parameter=False):
        self.array, self.function, self.parameter = np.ascontiguousarray(array), function, parameter

    def __reduce__(self):
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        storage = Storage(self.array)
        arguments = (storage, 0, self.array.shape, strides, False, {})
        if self.parameter:
            return found('torch._utils._rebuild_parameter'), (Tensor(self.array), True, {})
        return found(self.function), arguments


class Storage:
    def __init__(self, array):
        self.array = array


def found(name):
    module, _, function = name.rpartition('.')
    return getattr(sys.modules[module], function)


@contextlib.contextmanager
def torch_modules(functions=()):
    """Modules that have torch's names, for pickle to refer to."""
    names = ['torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter', *functions]
    names += [f'torch.{name}' for name in STORAGES.values()]
    kept = {name: module for name, module in sys.modules.items() if name.split('.')[0] == 'torch'}
    for name in kept:
        del sys.modules[name]
    try:
        for full in names:
            module, _, name = full.rpartition('.')
            place = sys.modules.setdefault(module, types.ModuleType(module))
            made = type(name, (), {}) if name.endswith('Storage') else lambda *_: None
            made.__module__, made.__qualname__, made.__name__ = module, name, name
            setattr(place, name, made)
        yield
    finally:
        for name in [name for name in sys.modules if name.split('.')[0] == 'torch']:
            del sys.modules[name]
        sys.modules.update(kept)


def save(path, value, *, zipped=True, protocol=2, functions=()):
    """Writes `value`, in which `Tensor` stands for a tensor."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            key = str(len(storages))
            storages[key] = item.array
            kind = found(f'torch.{STORAGES[item.array.dtype.name]}')
            return ('storage', kind, key, 'cpu', item.array.size, *(() if zipped else (None,)))

    with torch_modules(functions):
        stream = io.BytesIO()
        Pickler(stream, protocol).dump(value)
    if zipped:
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
            archive.writestr('archive/data.pkl', stream.getvalue())
            archive.writestr('archive/version', b'3\n')
            for key, array in storages.items():
                archive.writestr(f'archive/data/{key}', array.tobytes())
        return
    head = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})
    parts = [pickle.dumps(part, 2) for part in head] + [stream.getvalue()]
    parts.append(pickle.dumps(list(storages), 2))
    parts += [struct.pack('<q', array.size) + array.tobytes() for array in storages.values()]
    path.write_bytes(b''.join(parts))
