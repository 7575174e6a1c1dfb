"""The interpreter of PyTorch's pickles, opcode by opcode: values, inert objects, and refusals."""

import io
import pickle

import pytest

from jreid.models.weights.pickles import Global, Machine, Storage, Tensor, Unknown
from jreid.models.weights.tensors import WeightsError

FLOATS = b'ctorch\nFloatStorage\n'
STORAGE = b'(' + b"S'storage'\n" + FLOATS + b"S'0'\nS'cpu'\nI6\ntQ"
REBUILD = b'ctorch._utils\n_rebuild_tensor_v2\n'
TENSOR = REBUILD + b'(' + STORAGE + b'I0\n(I2\nI3\nt(I3\nI1\nttR'


def value_of(raw):
    return Machine().run(io.BytesIO(raw + b'.'))


def written(value):
    """The opcodes of a value, without the pickle's head and end."""
    return pickle.dumps(value, 2)[2:-1]


def calls(name, arguments):
    module, _, function = name.rpartition('.')
    return f'c{module}\n{function}\n'.encode() + arguments + b'R'


@pytest.mark.parametrize(
    ('raw', 'value'),
    [
        (b'(I1\nI2\nl', [1, 2]),
        (b"(S'a'\nI1\nS'b'\nI2\nd", {'a': 1, 'b': 2}),
        (b'I1\nI2\n0', 1),
        (b'I1\n(I2\nI3\n1', 1),
        (calls('torch.Size', written(((2, 3),))), (2, 3)),
        (calls('collections.OrderedDict', written(([('a', 1), ['b', 2]],))), {'a': 1, 'b': 2}),
        (calls('collections.OrderedDict', b')'), {}),
        (b'ccollections\nOrderedDict\n)\x81', {}),
    ],
)
def test_plain_values(raw, value):
    assert value_of(raw) == value


def test_a_tensor_in_all_its_wrappings():
    expected = Tensor(Storage('0', value_of(STORAGE).dtype, 6), 0, (2, 3), (3, 1))
    assert value_of(TENSOR) == expected
    assert (
        value_of(calls('torch._utils._rebuild_parameter', b'(' + TENSOR + b'I01\nNt')) == expected
    )
    inner = b'(' + STORAGE + b'I0\n(I2\nI3\nt(I3\nI1\ntt'
    typed = calls('torch._tensor._rebuild_from_type_v2', b'(' + REBUILD + b'N' + inner + b'Nt')
    assert value_of(typed) == expected


def test_what_other_programs_keep_is_inert_and_named_after_its_maker():
    made = value_of(b'cprogram\nThing\n)R')
    assert (type(made), made.maker) == (Unknown, Global('program', 'Thing'))
    again = value_of(b'cprogram\nThing\n)R)R')  # calls what the call gave
    assert again.maker == made.maker
    assert value_of(b'I1\n)R').maker == 'something unknown'
    whole = value_of(b"(S'module'\ncprogram\nNet\nS'net.py'\nS'source'\ntQ")
    assert whole.maker == Global('program', 'Net')
    # A tensor of a storage of another kind is as unknown as that.
    other = b"(S'storage'\ncprogram\nStore\nS'0'\nS'cpu'\nI6\ntQ"
    tensor = value_of(REBUILD + b'(' + other + b'I0\ntR')
    assert tensor.maker == Global('program', 'Store')


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'(' + b"S'storage'\n" + FLOATS + b"S'0'\nS'cpu'\nI6\nI1\ntQ", 'views of others'),
        (b"(S'elsewhere'\ntQ", 'refers to .*elsewhere.*; expected a storage of a known type'),
        (calls('torch.Size', written((3,))), r'calls .*Size.* expected the building of a tensor'),
        (b'I1\n\x86', 'takes more values than it has'),
        (b'I1\nI2\nI3\ns', 'opcode SETITEM where a file of tensors has none'),
        (b']I1\nI2\ns', 'opcode SETITEM'),
        (b'}I2\na', 'opcode APPEND'),
        (b'I1\nI2\nb', 'opcode BUILD'),
        (b'I1\nI2\n\x93', 'names a int as a module'),
        (b"(S'a'\nios\nsystem\n", 'opcode INST'),
    ],
)
def test_what_no_file_of_tensors_holds_is_refused(raw, message):
    with pytest.raises(WeightsError, match=message):
        value_of(raw)


def test_a_pickle_without_an_end_is_none():
    with pytest.raises(ValueError, match='STOP'):
        Machine().run(io.BytesIO(b'I1\n'))
