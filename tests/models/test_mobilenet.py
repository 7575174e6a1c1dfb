import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.commands.convert import convert
from jreid.models import BACKBONES
from jreid.models.weights.loading import load_into


def frozen_graph():
    path = pathlib.Path(
        os.environ.get(
            'JREID_MOBILENET_PB', pathlib.Path.home() / '.cache' / 'jreid' / 'mobilenet_v1.pb'
        )
    )
    if not path.is_file():
        pytest.skip(
            f'{path} is missing: the frozen graph retrained_graph.pb of the sdist of PyPI nudity'
            ' 0.2.3 (set JREID_MOBILENET_PB to it)'
        )
    return path


@pytest.mark.parametrize('size', ['224x224', '256x128'])
def test_equals_the_tensorflow_network(golden, size):
    record = BACKBONES['mobilenet_v1']
    module = record.constructor(last_stride=2)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 32, 3)))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    variables, _ = load_into(empty, frozen_graph(), backbone='mobilenet_v1', strict=True)
    reference = np.load(golden / 'mobilenet_v1.npz')
    images = (
        reference[f'image_{size}'].astype(np.float32) - np.float32(record.mean[0])
    ) / np.float32(record.std[0])
    pooled = jax.jit(module.apply)(variables, images).mean((1, 2))
    expected = reference[f'pooled_{size}']
    assert np.abs(pooled - expected).max() < 1e-4 * expected.max()


def test_parameter_count_is_the_papers():
    """4.2 million with the 1000-way classifier (paper, Table 8): 3,206,976 without it and its
    bias, batch norm's scale and bias included.
    """
    variables = jax.eval_shape(
        BACKBONES['mobilenet_v1'].constructor().init, jax.random.key(0), jnp.zeros((1, 64, 32, 3))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 3_206_976


def test_stages_and_strides():
    def shape(**options):
        module = BACKBONES['mobilenet_v1'].constructor(**options)
        return jax.eval_shape(
            lambda key, x: module.init_with_output(key, x)[0],
            jax.random.key(0),
            jnp.zeros((1, 128, 64, 3)),
        ).shape

    assert shape() == (1, 8, 4, 1024)
    assert shape(last_stride=2) == (1, 4, 2, 1024)


def number(value):
    """A varint of a protocol buffer."""
    low, high = value & 127, value >> 7
    return bytes([low]) if not high else bytes([low | 128]) + number(high)


def field(index, content):
    """A field of a protocol buffer: a varint, or bytes with their length."""
    return (
        number(index << 3) + number(content)
        if isinstance(content, int)
        else number(index << 3 | 2) + number(len(content)) + content
    )


def constant(name, array):
    """A GraphDef with one node, a float constant. GraphDefs one after the other are one with all
    their nodes.
    """
    shape = b''.join(field(2, field(1, size)) for size in array.shape)
    tensor = field(1, 1) + field(2, shape) + field(4, array.astype('<f4').tobytes())
    return field(
        1,
        field(1, name.encode())
        + field(2, b'Const')
        + field(5, field(1, b'value') + field(2, field(8, tensor))),
    )


def slim_weights():
    """Random arrays under the names, and in the layout, of the official release (slim's
    MobilenetV1).
    """
    rng, weights = np.random.default_rng(4), {}

    def add(scope, leaf, shape):
        weights[f'MobilenetV1/{scope}/{leaf}'] = (
            rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        ).astype(np.float32)
        channels = shape[2] if leaf == 'depthwise_weights' else shape[3]
        for name in ('gamma', 'beta', 'moving_mean', 'moving_variance'):
            weights[f'MobilenetV1/{scope}/BatchNorm/{name}'] = rng.uniform(
                0.5, 1.5, channels
            ).astype(np.float32)

    add('Conv2d_0', 'weights', (3, 3, 3, 32))
    widths = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for block in range(1, 14):
        add(f'Conv2d_{block}_depthwise', 'depthwise_weights', (3, 3, widths[block - 1], 1))
        add(f'Conv2d_{block}_pointwise', 'weights', (1, 1, widths[block - 1], widths[block]))
    weights['MobilenetV1/Logits/Conv2d_1c_1x1/weights'] = np.zeros((1, 1, 1024, 3), np.float32)
    return weights


def test_frozen_graph_of_the_releases_form_is_converted(tmp_path):
    """Every array lands in its place by name and layout, and again from the .safetensors, which
    nothing of TensorFlow reads.
    """
    weights = slim_weights()
    (tmp_path / 'frozen.pb').write_bytes(
        b''.join(constant(name, array) for name, array in weights.items())
    )
    told = convert(
        str(tmp_path / 'frozen.pb'), str(tmp_path / 'own.safetensors'), backbone='mobilenet_v1'
    )
    assert '135 arrays loaded, 1 of the file not used, 0 of the network not set' in told
    module = BACKBONES['mobilenet_v1'].constructor()
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 32, 3)))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    variables, report = load_into(
        empty, tmp_path / 'own.safetensors', backbone='mobilenet_v1', strict=True
    )
    assert report.unused == ()
    params, statistics = variables['params'], variables['batch_stats']
    named = 'MobilenetV1/Conv2d_{}/{}'.format
    np.testing.assert_array_equal(params['conv0']['kernel'], weights[named(0, 'weights')])
    np.testing.assert_array_equal(
        statistics['bn0']['var'], weights[named(0, 'BatchNorm/moving_variance')]
    )
    for block in range(13):
        found, moments = params[f'blocks_{block}'], statistics[f'blocks_{block}']
        depthwise, pointwise = f'{block + 1}_depthwise', f'{block + 1}_pointwise'
        np.testing.assert_array_equal(
            found['depthwise_conv']['kernel'][:, :, 0],
            weights[named(depthwise, 'depthwise_weights')][..., 0],
        )
        np.testing.assert_array_equal(
            found['pointwise_conv']['kernel'], weights[named(pointwise, 'weights')]
        )
        for kind, scope in (('depthwise_bn', depthwise), ('pointwise_bn', pointwise)):
            np.testing.assert_array_equal(
                found[kind]['scale'], weights[named(scope, 'BatchNorm/gamma')]
            )
            np.testing.assert_array_equal(
                found[kind]['bias'], weights[named(scope, 'BatchNorm/beta')]
            )
            np.testing.assert_array_equal(
                moments[kind]['mean'], weights[named(scope, 'BatchNorm/moving_mean')]
            )
            np.testing.assert_array_equal(
                moments[kind]['var'], weights[named(scope, 'BatchNorm/moving_variance')]
            )
