"""A pickle machine that knows dictionaries, numbers and references to tensors, and runs nothing.

The opcodes are parsed by `pickletools.genops`, which executes no code, and interpreted here. A name
in the file (opcode GLOBAL) is looked up in a closed table of what builds tensors; it is never
imported.
"""

import pickletools
from collections.abc import Callable, Iterable
from typing import IO, Any, NamedTuple

import numpy as np

from jreid.models.weights.tensors import STORAGE_DTYPES, WeightsError, is_count, shortened


class _Global(NamedTuple):
    """A name found in the file, inert."""

    module: str
    name: str


class Storage(NamedTuple):
    """A reference to raw data: its key, its type and the number of elements."""

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A tensor that is cut out of its storage once all storages are known."""

    storage: Storage
    offset: Any
    shape: Any
    stride: Any


_MARK = object()
_BUILDERS = {
    ('collections', 'OrderedDict'),
    ('torch._utils', '_rebuild_tensor'),
    ('torch._utils', '_rebuild_tensor_v2'),
    ('torch._utils', '_rebuild_parameter'),
    ('torch', 'Size'),
}
_VALUES = frozenset(
    ('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT')
    + (
        'STRING',
        'BINSTRING',
        'SHORT_BINSTRING',
        'UNICODE',
        'BINUNICODE',
        'SHORT_BINUNICODE',
        'BINUNICODE8',
    )
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_DICT': dict,
    'EMPTY_LIST': list,
    'EMPTY_TUPLE': tuple,
    'MARK': lambda: _MARK,
}
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


def _known_global(module: Any, name: Any) -> _Global:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise WeightsError(f'the file names a {type(module).__name__} as a module; it is damaged')
    if (module, name) in _BUILDERS or (module == 'torch' and name in STORAGE_DTYPES):
        return _Global(module, name)
    raise WeightsError(
        f'the file asks for {module}.{name}, which jreid never runs; expected tensors only. Save'
        ' the state_dict alone: torch.save(model.state_dict(), path).'
    )


def _persistent(pid: Any) -> Storage:
    match pid:
        case (
            'storage',
            _Global(module='torch', name=name),
            str(key),
            _,
            size,
            *rest,
        ) if name in STORAGE_DTYPES and is_count(size):
            if rest and rest[0] is not None:
                raise WeightsError(
                    'the file has storages that are views of others (PyTorch before 0.4); load it'
                    ' in PyTorch and save it again'
                )
            return Storage(key, STORAGE_DTYPES[name], size)
    raise WeightsError(
        f'the file refers to {shortened(pid)}; expected a storage of a known type. It is damaged or'
        ' not a PyTorch file.'
    )


def _dictionary(pairs: Iterable[Any]) -> dict[Any, Any]:
    # The hash of tuples that share tuples can take exponential time, so only plain keys are let in.
    pairs = list(pairs)
    if not all(isinstance(key, str | int | float | bytes | None) for key, _ in pairs):
        raise WeightsError(
            'the file has a dictionary whose keys are not words or numbers; it is damaged or not a'
            ' file of weights'
        )
    return dict(pairs)


def _reduce(target: Any, arguments: Any) -> Any:
    """The value of one call of the closed table."""
    match target, arguments:
        case _Global(name='OrderedDict'), ():
            return {}
        case _Global(name='OrderedDict'), (list(pairs),):
            return _dictionary(pairs)
        case _Global(name='Size'), (tuple(sizes),):
            return sizes
        case _Global(name='_rebuild_parameter'), (Tensor() as tensor, *_):
            return tensor
        case _Global(name='_rebuild_tensor' | '_rebuild_tensor_v2'), (
            Storage() as storage,
            offset,
            shape,
            stride,
            *_,
        ):
            return Tensor(storage, offset, shape, stride)
    raise WeightsError(
        f'the file calls {shortened(target)} with {shortened(arguments)}; expected the building of'
        ' a tensor or a dictionary. It is damaged.'
    )


class Machine:
    """The interpreter: a stack, a memo, and one method for the opcodes that change a container."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes]) -> Any:
        """The value of the next pickle of the stream, which is left after its end."""
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == 'STOP':
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise WeightsError('the pickle has no end; the file is damaged')

    def _to_mark(self) -> list[Any]:
        last = next(i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK)
        items = self.stack[last + 1 :]
        del self.stack[last:]
        return items

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise WeightsError('the pickle takes more values than it has; the file is damaged')
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            self.memo[argument] = stack[-1]
        elif name == 'MEMOIZE':
            self.memo[len(self.memo)] = stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(self.memo[argument])
        elif name == 'GLOBAL':
            stack.append(_known_global(*argument.split(' ', 1)))
        elif name == 'STACK_GLOBAL':
            stack.append(_known_global(*self._pop(2)))
        elif name == 'BINPERSID':
            stack.append(_persistent(stack.pop()))
        elif name == 'REDUCE':
            stack.append(_reduce(*self._pop(2)))
        elif name in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[name])))
        elif name == 'TUPLE':
            stack.append(tuple(self._to_mark()))
        elif name not in ('PROTO', 'FRAME'):
            self._change(name)

    def _change(self, name: str) -> None:
        if name in ('SETITEM', 'SETITEMS', 'APPEND', 'APPENDS'):
            items = (
                self._to_mark() if name.endswith('S') else self._pop(2 if name == 'SETITEM' else 1)
            )
            container = self.stack[-1]
            if name.startswith('SET') and type(container) is dict and len(items) % 2 == 0:
                container.update(_dictionary(zip(items[::2], items[1::2], strict=True)))
                return
            if name.startswith('APPEND') and type(container) is list:
                container.extend(items)
                return
        elif name in ('LIST', 'DICT'):
            items = self._to_mark()
            self.stack.append(
                items if name == 'LIST' else _dictionary(zip(items[::2], items[1::2], strict=True))
            )
            return
        # the `_metadata` attribute of a state_dict: of no use here, and nothing else may have a
        # state
        elif name == 'BUILD':
            self._pop(1)
            if type(self.stack[-1]) is dict:
                return
        raise WeightsError(
            f'the pickle has the opcode {name} where a file of tensors has none; refused. Save the'
            ' state_dict alone: torch.save(model.state_dict(), path).'
        )


def storages_of(value: Any) -> list[Storage]:
    """All storages of a value of nested dictionaries, lists and tuples, each container looked at
    once.
    """
    found, seen, left = [], set(), [value]
    while left:
        item = left.pop()
        if isinstance(item, Tensor):
            found.append(item.storage)
        elif isinstance(item, Storage):
            found.append(item)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            left.extend(item.values() if isinstance(item, dict) else item)
    return found
