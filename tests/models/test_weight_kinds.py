"""Weight files told by their content, ONNX initialisers, and names of numbered modules."""

import io

import ml_dtypes
import numpy as np
import pytest
import test_pretrained
from safetensors.numpy import save_file
from torch_files import Tensor, save

from jreid.commands import convert
from jreid.models.weights.loading import WeightsError, load_into, place_weights, read_weights
from jreid.models.weights.names import unnumbered
from jreid.models.weights.onnx import read_onnx

variables = test_pretrained.variables
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def varint(value):
    out = b''
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def initialiser(name, shape, code, number, content, *more):
    head = b''.join(field(1, size) for size in shape)
    return head + field(2, code) + field(8, name.encode()) + field(number, content) + b''.join(more)


def onnx(*tensors):
    graph = b''.join(field(5, tensor) for tensor in tensors)
    return field(1, 8) + field(2, b'program') + field(7, graph)


def frozen_graph():
    tensor = field(1, 1) + field(2, b''.join(field(2, field(1, n)) for n in (2, 3)))
    value = field(8, tensor + field(4, ARRAY.tobytes()))
    attribute = field(5, field(1, b'value') + field(2, value))
    return field(1, field(1, b'w') + field(2, b'Const') + attribute)


def caffemodel():
    blob = field(7, field(1, bytes([2, 3]))) + field(5, ARRAY.tobytes())
    return field(1, b'net') + field(100, field(1, b'w') + field(7, blob))


def npz():
    stream = io.BytesIO()
    np.savez(stream, w=ARRAY)
    return stream.getvalue()


@pytest.mark.parametrize('suffix', ['.bin', '.pth', '.pb', '.npz', '.onnx', '.safetensors'])
def test_content_chooses_the_reader(tmp_path, suffix):
    path = tmp_path / f'model{suffix}'
    single = initialiser('w', (2, 3), 1, 9, ARRAY.tobytes())
    contents = {'w': [npz(), onnx(single), frozen_graph()], 'w.weight': [caffemodel()]}
    for name, raws in contents.items():
        for raw in raws:
            path.write_bytes(raw)
            np.testing.assert_array_equal(read_weights(path)[name], ARRAY)
    for zipped in (True, False):
        save(path, {'w': Tensor(ARRAY)}, zipped=zipped)
        np.testing.assert_array_equal(read_weights(path)['w'], ARRAY)
    save_file({'w': ARRAY}, path)
    np.testing.assert_array_equal(read_weights(path)['w'], ARRAY)


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'git lfs pull'),
        (b'\n<!DOCTYPE html><html>', 'a web page.*download'),
        (b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
        (b'\x1f\x8b\x08', 'gunzip'),
        (b'\x93NUMPY\x01', 'numpy.savez'),
        (b'a' * 257 + b'ustar\x00', 'a tar archive; unpack it'),
    ],
)
def test_what_is_no_weight_file_is_answered_with_what_to_do(tmp_path, raw, message):
    (tmp_path / 'w.pth').write_bytes(raw)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / 'w.pth')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', '.npz', '.pb', '.onnx', '.caffemodel'])
@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'', 'is an empty file; expected weights'),
        (b'see the readme\n', "is a text, which begins with 'see the readme'; expected weights"),
        ('Gr\u00fc\u00dfe '.encode() * 99, 'is a text, which begins with'),
        (b'\x02\0\0\0\0\0\0\0{}', 'holds no array; expected weights by their names'),
        (b'\x00\xff' * 99, 'damaged or of another kind|cannot be read|is no|cut short'),
    ],
)
def test_files_without_weights_are_answered(tmp_path, suffix, raw, message):
    (tmp_path / f'w{suffix}').write_bytes(raw)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / f'w{suffix}')


def test_a_folder_is_no_weight_file(tmp_path):
    with pytest.raises(WeightsError, match='is a folder'):
        read_weights(tmp_path)


def test_initialisers_of_all_kinds(tmp_path):
    half, brain = np.float16([1.5, -2]), np.asarray([1.5, -2], ml_dtypes.bfloat16)
    codes = [b''.join(varint(int(x)) for x in kind.view(np.uint16)) for kind in (half, brain)]
    tensors = [
        initialiser('raw', (2, 3), 1, 9, ARRAY.tobytes()),
        initialiser('floats', (2, 3), 1, 4, ARRAY.tobytes()),
        initialiser('doubles', (2, 3), 11, 10, ARRAY.astype('<f8').tobytes()),
        initialiser('whole', (2,), 7, 7, b'\x05\x07'),
        initialiser('half', (2,), 10, 5, codes[0]),
        initialiser('brain', (2,), 16, 5, codes[1]),
        initialiser('scalar', (), 1, 9, np.float32(3).tobytes()),
        initialiser('text', (1,), 8, 6, b'abc'),
    ]
    (tmp_path / 'm.onnx').write_bytes(onnx(*tensors))
    found = read_onnx(tmp_path / 'm.onnx')
    for name in ('raw', 'floats', 'doubles'):
        np.testing.assert_array_equal(found[name], ARRAY)
    assert found['whole'].tolist() == [5, 7]
    for name in ('half', 'brain'):
        assert found[name].astype(float).tolist() == [1.5, -2]
    assert found['scalar'] == 3
    assert 'text' not in found


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (onnx(), 'has no initialisers'),
        (onnx(initialiser('w', (9,), 1, 9, b'abcd')), r"'w' has shape \(9,\) and 1 numbers"),
        (onnx(initialiser('w', (1,), 1, 13, b'', field(14, 1))), "'w' lies in another file"),
        (onnx(initialiser('w', (1,), 1, 9, b'abcd'))[:-3], 'cut short'),
    ],
)
def test_broken_onnx_files_are_answered(tmp_path, raw, message):
    (tmp_path / 'm.onnx').write_bytes(raw)
    with pytest.raises(WeightsError, match=message):
        read_onnx(tmp_path / 'm.onnx')


def test_folded_batch_norm_of_onnx_is_refused(tmp_path, variables):
    weight = np.zeros((64, 3, 7, 7), np.float32)
    tensor = initialiser('conv1.weight', weight.shape, 1, 9, weight.tobytes())
    (tmp_path / 'm.onnx').write_bytes(onnx(tensor))
    with pytest.raises(WeightsError, match='lacks 24 statistics .* which inference graphs fold'):
        load_into(variables, tmp_path / 'm.onnx', backbone='resnet18')


@pytest.mark.parametrize('first', [3, 4])
def test_numbered_modules_of_a_resnet(variables, first):
    weights, values = test_pretrained.torch_names(variables)
    numbers = {'conv1': 0, 'bn1': 1, **{f'layer{i + 1}': first + i for i in range(4)}}
    renamed = {}
    for name, array in weights.items():
        module, _, rest = name.partition('.')
        renamed[f'module.base.{numbers[module]}.{rest}'] = array
    loaded, report = place_weights(variables, renamed, path='w', backbone='resnet18', strict=True)
    assert report.unset == ()
    np.testing.assert_array_equal(
        loaded['params']['layer4_0']['conv1']['kernel'],
        values['params', 'layer4_0', 'conv1', 'kernel'],
    )
    plain = {'a': 'conv1.weight', 'b': '0.x'}
    assert unnumbered(plain) == plain


def test_prefix_of_a_load_and_of_convert(tmp_path, variables, capsys):
    weights, values = test_pretrained.torch_names(variables)
    other = {name: Tensor(array) for name, array in weights.items()}
    zeros = {name: Tensor(0 * array) for name, array in weights.items()}
    save(tmp_path / 'dino.pth', {'teacher': zeros, 'student': other})
    for prefix in ('student.', 'student'):
        loaded, _ = load_into(
            variables, tmp_path / 'dino.pth', backbone='resnet18', prefix=prefix, strict=True
        )
        np.testing.assert_array_equal(
            loaded['params']['conv1']['kernel'], values['params', 'conv1', 'kernel']
        )
    with pytest.raises(WeightsError, match="begins with the prefix 'nothing.'"):
        load_into(variables, tmp_path / 'dino.pth', backbone='resnet18', prefix='nothing.')
    words = [str(tmp_path / 'dino.pth'), str(tmp_path / 'out.safetensors'), '--prefix']
    assert convert.main([*words, 'student.']) == 0
    assert 'student.conv1.weight' in read_weights(tmp_path / 'out.safetensors')
    assert convert.main([*words, 'nothing.']) == 1
    assert "no name begins with 'nothing.'" in capsys.readouterr().err
