"""Caffe's weight files, beside messages that Google's protobuf writes, and damaged ones."""

import io
import pathlib
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from jreid import methods
from jreid.configs import variants
from jreid.methods.contract import Problem
from jreid.models import backbones
from jreid.models.weights import loading
from jreid.models.weights.caffe import read_caffemodel
from jreid.models.weights.loading import WeightsError, read_weights
from jreid.training import initialisation

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = {
    'conv1': (8, 3, 11, 11),
    'conv2': (8, 4, 5, 5),
    'conv3': (8, 8, 3, 3),
    'conv4': (8, 4, 3, 3),
    'conv5': (8, 4, 3, 3),
    'fc6': (5, 8),
}
FULL = {
    'conv1': (96, 3, 11, 11),
    'conv2': (256, 48, 5, 5),
    'conv3': (384, 256, 3, 3),
    'conv4': (384, 192, 3, 3),
    'conv5': (256, 192, 3, 3),
}


@pytest.fixture(scope='module')
def caffe():
    """NetParameter, as far as weights need it, by Google's implementation."""
    pytest.importorskip('google.protobuf')
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {'string': 9, 'float': 2, 'double': 1, 'int32': 5, 'int64': 3, 'enum': 5}
    layout = {
        'BlobShape': [('dim', 1, 'int64', True)],
        'BlobProto': (
            [
                ('shape', 7, 'BlobShape', False),
                ('data', 5, 'float', True),
                ('diff', 6, 'float', True),
                ('double_data', 8, 'double', True),
            ]
            + [
                (name, i + 1, 'int32', False)
                for i, name in enumerate(('num', 'channels', 'height', 'width'))
            ]
        ),
        'LayerParameter': [
            ('name', 1, 'string', False),
            ('type', 2, 'string', False),
            ('bottom', 3, 'string', True),
            ('blobs', 7, 'BlobProto', True),
        ],
        'V1LayerParameter': (
            [
                ('layer', 1, 'LayerParameter', False),
                ('bottom', 2, 'string', True),
                ('name', 4, 'string', False),
                ('type', 5, 'enum', False),
            ]
            + [('blobs', 6, 'BlobProto', True), ('blobs_lr', 7, 'float', True)]
        ),
        'NetParameter': [
            ('name', 1, 'string', False),
            ('layers', 2, 'V1LayerParameter', True),
            ('layer', 100, 'LayerParameter', True),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(
        name='caffe_weights.proto', package='caffe', syntax='proto2'
    )
    for message, fields in layout.items():
        made = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = made.field.add(name=name, number=number, label=3 if repeated else 1)
            if kind in kinds:
                field.type = kinds[kind]
                field.options.packed = repeated and name in ('data', 'diff', 'double_data', 'dim')
            else:
                field.type, field.type_name = 11, f'.caffe.{kind}'
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f'caffe.{name}'))
        for name in layout
    }


def weights_of(shapes, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        found[f'{name}.weight'] = rng.standard_normal(shape).astype(np.float32)
        found[f'{name}.bias'] = rng.standard_normal(shape[0]).astype(np.float32)
    return found


def net(caffe, weights, *, old=False, double=False):
    """The bytes of a .caffemodel: of the format since 2014, or of the one before it, whose blobs
    have four sizes.
    """
    message = caffe['NetParameter'](name='AlexNet')
    for name in dict.fromkeys(key.split('.')[0] for key in weights):
        layer = (
            message.layers.add(name=name, bottom=['data'])
            if old
            else message.layer.add(name=name, type='Convolution', bottom=['data'])
        )
        if old:
            layer.type = 4
            layer.blobs_lr.extend([1, 2])
        for leaf in ('weight', 'bias'):
            array = weights[f'{name}.{leaf}']
            blob = layer.blobs.add()
            (blob.double_data if double else blob.data).extend(array.ravel().tolist())
            blob.diff.extend([0.0])
            if old:
                for field, size in zip(
                    ('num', 'channels', 'height', 'width'),
                    (1,) * (4 - array.ndim) + array.shape,
                    strict=True,
                ):
                    setattr(blob, field, size)
            else:
                blob.shape.dim.extend(array.shape)
    message.layer.add(name='relu1', type='ReLU')
    return message.SerializeToString()


@pytest.mark.parametrize(('old', 'double'), [(False, False), (True, False), (False, True)])
def test_equals_what_protobuf_wrote(old, double, caffe, tmp_path):
    weights = weights_of(SHAPES)
    (tmp_path / 'w.caffemodel').write_bytes(net(caffe, weights, old=old, double=double))
    found = read_weights(tmp_path / 'w.caffemodel')
    assert list(found) == list(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_unpacked_numbers_and_further_blobs(tmp_path):
    """A scale layer's third blob; floats written one by one, as proto2 does without [packed]."""

    def field(number, value):
        return bytes([number << 3 | 2, len(value)]) + value

    def blob(numbers):
        return b''.join(bytes([5 << 3 | 5]) + np.float32(x).tobytes() for x in numbers) + field(
            7, bytes([1 << 3, len(numbers)])
        )

    layer = field(1, b'bn') + b''.join(field(7, blob(numbers)) for numbers in ([1, 2], [3, 4], [5]))
    (tmp_path / 'w.caffemodel').write_bytes(bytes([0xA2, 0x06, len(layer)]) + layer)
    found = read_caffemodel(tmp_path / 'w.caffemodel')
    assert {name: array.tolist() for name, array in found.items()} == {
        'bn.weight': [1, 2],
        'bn.bias': [3, 4],
        'bn.2': [5],
    }


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is an empty file; expected weights'),
        (b'name: "AlexNet"\nlayer {\n', 'is a text, which begins with .name: "Alex'),
        (bytes([0xA2, 0x06, 100, 1]), 'cut short'),
        (bytes([0xA2, 0x06, 7, 0x3A, 5, 0x2A, 3, 0, 0, 0]), 'buffer size must be a multiple'),
        (bytes([0x12, 2, 0x0A, 0]), "Caffe's first format"),
        (bytes([0xFF] * 12), 'more than 64 bits'),
    ],
)
def test_other_files_are_told(content, message, tmp_path):
    (tmp_path / 'w.caffemodel').write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / 'w.caffemodel')


def test_shape_that_does_not_fit_its_numbers(caffe, tmp_path):
    message = caffe['NetParameter']()
    message.layer.add(name='conv1').blobs.add(data=[1.0, 2.0]).shape.dim.extend([3])
    (tmp_path / 'w.caffemodel').write_bytes(message.SerializeToString())
    with pytest.raises(WeightsError, match=r'a blob of shape \(3,\) with 2 numbers'):
        read_weights(tmp_path / 'w.caffemodel')


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_an_error_or_arrays(data, tmp_path_factory, caffe_bytes):
    """Whatever is cut off or changed, nothing but WeightsError comes out."""
    content = bytearray(caffe_bytes[: data.draw(st.integers(0, len(caffe_bytes)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / 'damaged.caffemodel'
    path.write_bytes(content)
    try:
        found = read_caffemodel(path)
    except WeightsError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


@pytest.fixture(scope='module')
def caffe_bytes(caffe):
    return net(caffe, weights_of({'conv1': (2, 1, 2, 2), 'fc': (3, 2)}))


@pytest.mark.parametrize(
    ('suffix', 'names'),
    [
        ('npz', '{}.{}'),
        ('npz', '{}_{}'),
        ('npz', '{}/{}'),
        ('npz', '{}_#'),
        ('safetensors', '{}_{}'),
    ],
)
def test_files_of_caffes_arrays(suffix, names, tmp_path, caplog):
    """conv1's blue channel comes first in Caffe, and last here."""
    weights = weights_of(SHAPES)
    stored = {}
    for name, array in weights.items():
        layer, leaf = name.split('.')
        stored[names.replace('#', '0' if leaf == 'weight' else '1').format(layer, leaf)] = array
    if suffix == 'npz':
        np.savez(tmp_path / 'w.npz', **stored)
    else:
        save_file(stored, tmp_path / 'w.safetensors')
    module, _ = backbones.build('caffenet', {'widths': (8, 8, 8, 8, 8)})
    settings = variants.method_settings('mtdnet')
    method = methods.build(settings, module, Problem((99, 99), 2, 2, 2, target_labelled=True))
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    params, state = (
        jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree) for tree in shapes[:2]
    )
    with caplog.at_level('WARNING', 'jreid'):
        loaded, _ = initialisation.load_weights(
            str(tmp_path / f'w.{suffix}'), 'caffenet', method, params, state
        )
    assert 'does not say which of alexnet and caffenet it is of' in caplog.text
    assert 'caffenet, which pools before local response normalisation' in caplog.text
    stem = loaded['backbone']['stem']
    np.testing.assert_array_equal(
        stem['conv1']['kernel'], weights['conv1.weight'].transpose(2, 3, 1, 0)[:, :, ::-1]
    )
    np.testing.assert_array_equal(
        stem['conv2']['kernel'], weights['conv2.weight'].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(stem['conv1']['bias'], weights['conv1.bias'])
    # the pairs' part starts at random, as in the paper
    assert not np.any(loaded['conv3']['kernel'])


ORDERS = {'alexnet': ('norm1', 'pool1'), 'caffenet': ('pool1', 'norm1'), '': ()}


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('backbone', list(ORDERS))
def test_weights_of_the_other_order_are_refused(backbone, old, caffe, tmp_path):
    """AlexNet's and CaffeNet's arrays are alike; the file's list of layers tells them apart."""
    message = caffe['NetParameter'].FromString(net(caffe, weights_of(SHAPES), old=old))
    for name in ORDERS[backbone]:
        (message.layers if old else message.layer).add(name=name)
    path = tmp_path / 'w.caffemodel'
    path.write_bytes(message.SerializeToString())
    assert loading.stated_backbone(path) == backbone
    if not backbone:
        assert 'model.backbone says alexnet, which pools after' in loading.same_arrays_note(
            path, 'alexnet'
        )
        return
    assert loading.same_arrays_note(path, backbone) == ''
    other = next(name for name in ORDERS if name not in ('', backbone))
    with pytest.raises(
        WeightsError,
        match=f'holds weights of {backbone}, which is another network than {other}; set'
        f" model.backbone to '{backbone}'",
    ):
        loading.load_into({}, path, backbone=other)


def test_converted_weights_name_their_backbone(tmp_path):
    path = tmp_path / 'w.safetensors'
    for stated, expected in (('caffenet', 'caffenet'), ('mine', '')):
        save_file({'conv1_w': np.zeros(1)}, path, metadata={'backbone': stated})
        assert loading.stated_backbone(path) == expected
    path = tmp_path / 'w.npz'
    np.savez(path, conv1_w=np.zeros(1))
    assert loading.stated_backbone(path) == ''
    assert loading.same_arrays_note(path, 'resnet50') == ''


def test_run_of_the_other_order_is_refused(tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'config.json').write_text('{"model": {"backbone": "alexnet"}}')
    with pytest.raises(ValueError, match='has the backbone alexnet, this run caffenet: the same'):
        initialisation.from_run(tmp_path, None, {}, None, backbone='caffenet')


def test_npz_that_is_refused(tmp_path):
    np.savez(tmp_path / 'objects.npz', conv1=np.array([{'a': 1}], object))
    with pytest.raises(
        WeightsError, match='no .npz of arrays that can be read: Object arrays cannot be loaded'
    ):
        read_weights(tmp_path / 'objects.npz')
    (tmp_path / 'text.npz').write_bytes(b'\x01conv1')
    with pytest.raises(WeightsError, match='no .npz of arrays that can be read'):
        read_weights(tmp_path / 'text.npz')
    with zipfile.ZipFile(tmp_path / 'cut.npz', 'w') as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(100))
        archive.writestr('conv1.npy', buffer.getvalue()[:200])
    with pytest.raises(WeightsError, match='no .npz of arrays that can be read'):
        read_weights(tmp_path / 'cut.npz')


@pytest.mark.slow
def test_converted_file_of_the_whole_network(caffe, tmp_path):
    weights = weights_of({**FULL, 'fc6': (2, 9216)})
    (tmp_path / 'w.caffemodel').write_bytes(net(caffe, weights))
    command = [
        sys.executable,
        str(ROOT / 'scripts' / 'convert_weights.py'),
        str(tmp_path / 'w.caffemodel'),
        str(tmp_path / 'w.safetensors'),
        '--backbone',
        'alexnet',
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert '10 arrays loaded, 2 of the file not used, 0 of the network not set' in told
    found = load_file(tmp_path / 'w.safetensors')
    np.testing.assert_array_equal(
        found['params/trunk/conv4/kernel'], weights['conv4.weight'].transpose(2, 3, 1, 0)
    )
