"""OSNet against the features of the published program's ONNX file, on its own weights."""

import functools
import re
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from PIL import Image

from jreid.commands.convert import convert
from jreid.models import BACKBONES
from jreid.models.weights.loading import load_into, place_weights

FILE = 'osnet_x0_25_msmt17.safetensors'
SIZES = {'osnet_x1_0': 2.2, 'osnet_x0_75': 1.3, 'osnet_x0_5': 0.6, 'osnet_x0_25': 0.2}
"""Millions of parameters: the paper's Table 5."""


@functools.cache
def variables_of(name, **options):
    module = BACKBONES[name].constructor(**options)
    image = jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), image)
    return module, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))


@pytest.mark.slow
def test_msmt17_weights_load_whole_and_give_the_published_features(shared_data):
    check = np.load(shared_data / 'weights' / 'osnet_x0_25_check.npz')
    module, empty = variables_of('osnet_x0_25', embedding=True)
    variables, report = load_into(
        empty,
        shared_data / 'weights' / FILE,
        backbone='osnet_x0_25',
        strict=True,
    )
    assert report.unused == ()
    assert len(report.loaded) == 485
    record = BACKBONES['osnet_x0_25']
    opened = [
        np.asarray(
            Image.open(shared_data.parent / name).convert('RGB').resize((128, 256), Image.BILINEAR)
        )
        for name in check['files'][:2]
    ]
    pixels = ((np.stack(opened) - np.array(record.mean)) / np.array(record.std)).astype(np.float32)
    maps = jax.jit(module.apply)(variables, pixels)
    assert maps.shape == (2, 1, 1, 512)
    np.testing.assert_allclose(maps[:, 0, 0], check['features'][:2], atol=1e-4)


@pytest.mark.slow
def test_convert_keeps_the_layer_of_512(shared_data, tmp_path):
    source, target = shared_data / 'weights' / FILE, tmp_path / 'own.safetensors'
    assert '485 arrays loaded, 0 of the file not used' in convert(
        str(source), str(target), backbone='osnet_x0_25'
    )
    for options, count in (({}, 479), ({'embedding': True}, 485)):
        _, empty = variables_of('osnet_x0_25', **options)
        _, report = load_into(empty, target, backbone='osnet_x0_25', strict=True)
        assert len(report.loaded) == count


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=pytest.mark.slow if n != 'osnet_x0_25' else ()) for n in SIZES]
)
def test_parameters_are_the_papers_and_the_map_a_sixteenth(name):
    module, variables = variables_of(name, embedding=True)
    params = variables['params']
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert round(count / 1e6, 1) == SIZES[name]
    width = BACKBONES[name].features
    assert params['conv5']['conv']['kernel'].shape == (1, 1, width, width)
    assert BACKBONES[name].constructor().features == width
    assert module.features == 512


def test_every_array_lands_where_its_torchreid_name_says():
    """Without the 512-wide layer that layer is left over besides the classifier."""
    _, empty = variables_of('osnet_x0_25', embedding=True)
    foreign = torchreid_names(empty) | {'classifier.weight': np.zeros((10, 512), np.float32)}
    place = functools.partial(place_weights, path='w', backbone='osnet_x0_25', strict=True)
    loaded, report = place(empty, foreign)
    assert report.unused == ('classifier.weight',)
    for path, value in traverse_util.flatten_dict(loaded).items():
        assert np.array_equal(value, np.full(value.shape, crc32('/'.join(path).encode()) % 997))
    plain = {
        name: {own: leaf for own, leaf in tree.items() if not own.startswith('fc')}
        for name, tree in empty.items()
    }
    _, report = place(plain, foreign)
    layer = {f'fc.0.{leaf}' for leaf in ('weight', 'bias')} | {
        f'fc.1.{leaf}' for leaf in ('weight', 'bias', 'running_mean', 'running_var')
    }
    assert set(report.unused) == {'classifier.weight', *layer}


def torchreid_names(variables):
    """A state_dict by torchreid's names, each array filled with a number of its path here."""
    leaves = {'mean': 'running_mean', 'var': 'running_var', 'bias': 'bias'}
    weights = {}
    for path, leaf in traverse_util.flatten_dict(variables).items():
        name = '.'.join(path[1:-1])
        name = re.sub(r'^fc$', 'fc.0', name).replace('fc_bn', 'fc.1')
        name = re.sub(r'^pool(\d)', r'conv\1.2.0', name)
        name = re.sub(r'^(conv[234])_(\d)', r'\1.\2', name)
        name = re.sub(r'(conv2[b-d])_(\d)', r'\1.\2', name).replace('conv2a_0', 'conv2a')
        value = np.full(leaf.shape, crc32('/'.join(path).encode()) % 997, np.float32)
        weights[f'{name}.{leaves.get(path[-1], "weight")}'] = (
            value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        )
    return weights


def test_options_that_osnet_cannot_take_are_named():
    image = jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32)
    for options, message in (
        ({'last_stride': 2}, 'last_stride is 2; OSNet has no strided last stage'),
        ({'widths': (16, 30, 32, 64)}, 'expected four multiples of 4'),
    ):
        module = BACKBONES['osnet_x1_0'].constructor(**options)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda x, m=module: m.init(jax.random.key(0), x), image)
