"""A pickle machine that knows dictionaries, numbers and references to tensors, and runs nothing.

The opcodes are parsed by `pickletools.genops`, which executes no code, and interpreted here. A name
in the file (opcode GLOBAL) is compared with a closed table of what builds tensors; it is never
imported. Every other name, and what the file builds with it (a namespace of arguments, a NumPy
scalar, a path), stays an inert `Unknown`: never looked up, never called.
"""

import pickletools
from collections.abc import Callable, Iterable
from typing import IO, Any, NamedTuple

import numpy as np

from jreid.models.weights.tensors import STORAGE_DTYPES, WeightsError, is_count, shortened


class Global(NamedTuple):
    """A name found in the file, inert."""

    module: str
    name: str

    def __str__(self) -> str:
        return repr(f'{self.module}.{self.name}'[:120])[1:-1]


class Unknown:
    """What the file builds with a name that is not in the table, inert.

    Attributes:
      maker: the name.
      contents: what it was built from; tensors within are read by nobody.
    """

    def __init__(self, maker: object, *contents: Any) -> None:
        self.maker, self.contents = maker, list(contents)

    def __repr__(self) -> str:
        return f'<{self.maker}>'


class UnknownStorage(Unknown):
    """Raw data of a type that no weight has (quantised, complex), or whose name is not known."""


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
    ('torch._utils', '_rebuild_parameter_with_state'),
    ('torch._tensor', '_rebuild_from_type_v2'),
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
    + ('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8')
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_DICT': dict,
    'EMPTY_LIST': list,
    'EMPTY_TUPLE': tuple,
    'EMPTY_SET': lambda: Unknown('a set'),
    'MARK': lambda: _MARK,
}
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


def _global(module: Any, name: Any) -> Global:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise WeightsError(f'the file names a {type(module).__name__} as a module; it is damaged')
    return Global(module, name)


def _persistent(pid: Any) -> Storage | Unknown:
    match pid:
        case (
            'storage',
            Global(module='torch', name=name),
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
        case ('storage', Global() as maker, *_):
            return UnknownStorage(maker)
        case ('module', Global() as maker, *_):  # a module saved whole
            return Unknown(maker)
    raise WeightsError(
        f'the file refers to {shortened(pid)}; expected a storage of a known type. It is damaged or'
        ' not a PyTorch file.'
    )


def _dictionary(pairs: Iterable[Any]) -> dict[Any, Any]:
    # The hash of tuples that share tuples can take exponential time: keys that are not plain are
    # replaced by one that nobody looks up, and their values stay.
    return {
        key if isinstance(key, str | int | float | bytes | None) else Unknown('a key'): value
        for key, value in pairs
    }


def _name(maker: Any) -> object:
    """Returns what an inert value is named after: never another one, so that no name grows."""
    if isinstance(maker, Unknown):
        return maker.maker
    return maker if isinstance(maker, Global) else 'something unknown'


def _reduce(target: Any, arguments: Any) -> Any:
    """Returns the value of one call: of the closed table, else an inert one."""
    if not isinstance(target, Global) or (target.module, target.name) not in _BUILDERS:
        return Unknown(_name(target), arguments)
    match target.name, arguments:
        case 'OrderedDict', ():
            return {}
        case 'OrderedDict', (list(pairs),) if all(type(p) in (list, tuple) for p in pairs):
            return _dictionary(pairs)
        case 'Size', (tuple(sizes),):
            return sizes
        case '_rebuild_parameter' | '_rebuild_parameter_with_state', (Tensor() as tensor, *_):
            return tensor
        case '_rebuild_from_type_v2', (Global() as inner, _, tuple(own), *_):
            return _reduce(inner, own)
        case '_rebuild_tensor' | '_rebuild_tensor_v2', (
            Storage() as storage,
            offset,
            shape,
            stride,
            *_,
        ):
            return Tensor(storage, offset, shape, stride)
        case _, (Unknown() as inner, *_):
            return Unknown(inner.maker, arguments)
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
        """Returns the value of the next pickle of the stream, and stops after its end."""
        for opcode, argument, _ in pickletools.genops(stream):  # ends with STOP, or raises
            if opcode.name != 'STOP':
                self._step(opcode.name, argument)
        return self.stack.pop()

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
            stack.append(_global(*argument.split(' ', 1)))
        elif name == 'STACK_GLOBAL':
            stack.append(_global(*self._pop(2)))
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
        """Runs the opcodes that change a container, or build an object."""
        if name in ('SETITEM', 'SETITEMS', 'APPEND', 'APPENDS', 'ADDITEMS'):
            items = (
                self._to_mark() if name.endswith('S') else self._pop(2 if name == 'SETITEM' else 1)
            )
            container = self.stack[-1]
            if isinstance(container, Unknown):
                container.contents += items
                return
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
        elif name == 'BUILD':
            # Of a dictionary this is the `_metadata` of a state_dict, of no use here.
            (state,) = self._pop(1)
            if isinstance(self.stack[-1], Unknown):
                self.stack[-1].contents.append(state)
            if isinstance(self.stack[-1], Unknown | dict):
                return
        elif name in ('NEWOBJ', 'NEWOBJ_EX'):
            maker, *arguments = self._pop(2 if name == 'NEWOBJ' else 3)
            self.stack.append(
                {} if maker == ('collections', 'OrderedDict') else Unknown(_name(maker), *arguments)
            )
            return
        elif name in ('POP', 'POP_MARK'):
            self._to_mark() if name == 'POP_MARK' else self._pop(1)
            return
        elif name == 'FROZENSET':
            self.stack.append(Unknown('a set', *self._to_mark()))
            return
        raise WeightsError(
            f'the pickle has the opcode {name} where a file of tensors has none; refused. Save the'
            ' state_dict alone: torch.save(model.state_dict(), path).'
        )


def storages_of(value: Any) -> list[Storage | UnknownStorage]:
    """Lists all storages in nested dictionaries, lists and tuples; each container is read once."""
    storages: list[Storage | UnknownStorage] = []
    seen, left = set(), [value]
    while left:
        item = left.pop()
        if isinstance(item, Tensor):
            storages.append(item.storage)
        elif isinstance(item, Storage | UnknownStorage):
            storages.append(item)
        elif isinstance(item, dict | list | tuple | Unknown) and id(item) not in seen:
            seen.add(id(item))
            inside = item.contents if isinstance(item, Unknown) else item
            left.extend(inside.values() if isinstance(inside, dict) else inside)
    return storages
