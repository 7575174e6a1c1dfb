import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jreid.models.weights.tensors import WeightsError, strided_tensor
from jreid.models.weights.torch import read_torch


class Command:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def tensors(torch):
    x = torch.arange(24.0).reshape(4, 6)
    return {
        'plain': x,
        'transposed': x.t(),
        'strided': x[1:, ::2],
        'shared': x[2],
        'expanded': torch.ones(1).expand(5, 4),
        'parameter': torch.nn.Parameter(x + 1),
        'half': x.half(),
        'bfloat16': x.bfloat16(),
        'double': x.double(),
        'scalar': torch.tensor(3),
        'bool': torch.tensor([True, False]),
        'uint8': torch.tensor([0, 255], dtype=torch.uint8),
        'empty': torch.zeros(0, 3),
    }


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('nested', [True, False])
def test_reads_what_torch_wrote(tmp_path, zipped, protocol, nested):
    torch = pytest.importorskip('torch')
    expected = tensors(torch)
    value = {'epoch': 3, 'lr': [0.1, None, True], 'state_dict': expected} if nested else expected
    path = tmp_path / 'weights.pth'
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_torch(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype.name == str(tensor.dtype).removeprefix('torch.')
        assert found[name].flags.c_contiguous
        np.testing.assert_array_equal(
            found[name].astype(np.float64), tensor.detach().double().numpy()
        )


def test_reads_a_modules_state_dict_with_its_metadata(tmp_path):
    torch = pytest.importorskip('torch')
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / 'module.pth')
    assert set(read_torch(tmp_path / 'module.pth')) == set(module.state_dict())


def write_zip(path, pickled, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('archive/data.pkl', pickled)
        archive.writestr('archive/data/0', bytes(16))


def write_legacy(path, pickled):
    head = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})
    path.write_bytes(
        b''.join(pickle.dumps(value, 2) for value in head)
        + pickled
        + pickle.dumps(['0'], 2)
        + struct.pack('<q', 4)
        + bytes(16)
    )


def hostile(marker):
    touch = f'touch {marker}'
    module, name = os.system.__module__, 'system'
    return {
        'os.system': pickle.dumps({'a': Command(os.system, touch)}, 2),
        'os.system, protocol 4': pickle.dumps({'a': Command(os.system, touch)}, 4),
        'eval': pickle.dumps(Command(eval, f'open({str(marker)!r}, "w")')),
        'exec, protocol 0': pickle.dumps(Command(exec, f'open({str(marker)!r}, "w")'), 0),
        'getattr': pickle.dumps(Command(getattr, {}, 'update'), 2),
        'nothing called': f'c{module}\n{name}\n.'.encode(),
        'inst': f'(S{touch!r}\ni{module}\n{name}\n.'.encode(),
        'obj': f'(c{module}\n{name}\nS{touch!r}\no.'.encode(),
        'new object': b'\x80\x02ccollections\nOrderedDict\n)\x81.',
        'stack global of a list': b'\x80\x04]\x8c\x06system\x93.',
        'dotted name': b'\x80\x04\x8c\x0ccollections.\x8c\x0bOrderedDict\x93.',
        'dotted attribute': b'\x80\x04\x8c\x0bcollections\x8c\x1aOrderedDict.__init__.__cla\x93.',
        'extension': b'\x80\x02\x82\x01.',
        'build of a class': b'\x80\x02ccollections\nOrderedDict\n}b.',
        'torch function': b'\x80\x02ctorch\nload\nX\x01\x00\x00\x00a\x85R.',
        'storage class called': b'\x80\x02ctorch\nFloatStorage\nK\x05\x85R.',
        'unknown persistent id': b'\x80\x02X\x01\x00\x00\x00aQ.',
        'text persistent id': b'Pabc\n.',
    }


@pytest.mark.parametrize('write', [write_zip, write_legacy])
def test_hostile_pickles_are_refused_and_not_run(tmp_path, write):
    marker = tmp_path / 'ran'
    for name, pickled in hostile(marker).items():
        write(tmp_path / 'bad.pth', pickled)
        with pytest.raises(WeightsError, match=r'bad\.pth'):
            read_torch(tmp_path / 'bad.pth')
        assert not marker.exists(), name


def test_refusal_names_the_function_and_what_to_do(tmp_path):
    write_zip(tmp_path / 'bad.pth', hostile(tmp_path / 'ran')['os.system'])
    with pytest.raises(
        WeightsError, match=r'object of posix\.system, which jreid never builds.*state_dict'
    ):
        read_torch(tmp_path / 'bad.pth')


def test_sharing_cannot_blow_up_time_or_memory(tmp_path):
    doubled = (
        b'\x80\x02]q\x00'
        + b''.join(
            b'](h%bh%be' % (bytes([i]), bytes([i])) + b'q' + bytes([i + 1]) for i in range(60)
        )
        + b'.'
    )
    tuples = (
        b'\x80\x02Nq\x00'
        + b''.join(b'h%bh%b\x86q%b' % (bytes([i]), bytes([i]), bytes([i + 1])) for i in range(60))
        + b'}h\x3cNs.'
    )
    for pickled, text in ((doubled, 'found list'), (tuples, 'found .<a key>')):
        write_zip(tmp_path / 'bomb.pth', pickled)
        with pytest.raises(WeightsError, match=text):
            read_torch(tmp_path / 'bomb.pth')
    write_zip(tmp_path / 'bomb.pth', bytes(1 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match='uncompressed'):
        read_torch(tmp_path / 'bomb.pth')


OUTSIDE = [
    (0, (5,), (1,)),
    (4, (1,), (1,)),
    (0, (2, 2), (3, 1)),
    (-1, (1,), (1,)),
    (0, (-1,), (1,)),
    (0, (2,), (-1,)),
    (0, (2,), ()),
    (0, (1 << 40,), (0,)),
    (True, (1,), (1,)),
    (0, 3, (1,)),
    (0, ('a',), (1,)),
]


@pytest.mark.parametrize(('offset', 'shape', 'stride'), OUTSIDE)
def test_tensor_outside_its_storage_is_an_error(offset, shape, stride):
    with pytest.raises(WeightsError):
        strided_tensor(np.zeros(4, np.float32), offset, shape, stride)


def test_other_files_are_named(tmp_path):
    torch = pytest.importorskip('torch')
    (tmp_path / 'text.pth').write_text('hello')
    (tmp_path / 'empty.pth').write_bytes(b'')
    torch.save([1, 2], tmp_path / 'list.pth')
    write_zip(tmp_path / 'numbers.pth', pickle.dumps({'a': 1}, 2))
    with zipfile.ZipFile(tmp_path / 'script.pth', 'w') as archive:
        archive.writestr('m/data.pkl', b'')
        archive.writestr('m/constants.pkl', b'')
    for name, text in (
        ('text', 'text'),
        ('empty', 'empty'),
        ('list', 'found list'),
        ('numbers', r"found \['a'\]"),
        ('script', 'TorchScript'),
    ):
        with pytest.raises(WeightsError, match=text):
            read_torch(tmp_path / f'{name}.pth')


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
    torch = pytest.importorskip('torch')
    folder = tmp_path_factory.mktemp('originals')
    files = []
    for zipped in (True, False):
        torch.save(
            {'a': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(2)},
            folder / 'x.pth',
            _use_new_zipfile_serialization=zipped,
        )
        files.append((folder / 'x.pth').read_bytes())
    return files


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_cut_or_mangled_files_raise_our_error_or_give_arrays(tmp_path, originals, data):
    def mangled(raw):
        raw = bytearray(raw)
        for _ in range(data.draw(st.integers(0, 4))):
            raw[data.draw(st.integers(0, min(len(raw), 800) - 1))] = data.draw(st.integers(0, 255))
        del raw[data.draw(st.integers(1, len(raw))) :]
        return bytes(raw)

    path = tmp_path / 'mangled.pth'
    kind = data.draw(st.sampled_from(['zip', 'legacy', 'pickle']))
    if kind == 'pickle':  # with a right checksum, so that the damage reaches the pickle machine
        with zipfile.ZipFile(io.BytesIO(originals[0])) as archive:
            write_zip(path, mangled(archive.read('x/data.pkl')))
    else:
        path.write_bytes(mangled(originals[kind == 'legacy']))
    try:
        found = read_torch(path)
    except WeightsError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
