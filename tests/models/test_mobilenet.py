import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models import BACKBONES
from jreid.models.pretrained import load_into


def frozen_graph():
    path = pathlib.Path(os.environ.get('JREID_MOBILENET_PB', pathlib.Path.home() / '.cache' / 'jreid' / 'mobilenet_v1.pb'))
    if not path.is_file():
        pytest.skip(f'{path} is missing: the frozen graph retrained_graph.pb of the sdist of PyPI nudity 0.2.3 (set JREID_MOBILENET_PB to it)')
    return path


@pytest.mark.parametrize('size', ['224x224', '256x128'])
def test_equals_the_tensorflow_network(golden, size):
    record = BACKBONES['mobilenet_v1']
    module = record.constructor(last_stride=2)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 32, 3)))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    variables, _ = load_into(empty, frozen_graph(), backbone='mobilenet_v1', strict=True)
    reference = np.load(golden / 'mobilenet_v1.npz')
    images = (reference[f'image_{size}'].astype(np.float32) - np.float32(record.mean[0])) / np.float32(record.std[0])
    pooled = jax.jit(module.apply)(variables, images).mean((1, 2))
    expected = reference[f'pooled_{size}']
    assert np.abs(pooled - expected).max() < 1e-4 * expected.max()


def test_parameter_count_is_the_papers():
    """4.2 million with the 1000-way classifier (paper, Table 8): 3,206,976 without it and its bias, batch norm's scale and bias included."""
    variables = jax.eval_shape(BACKBONES['mobilenet_v1'].constructor().init, jax.random.key(0), jnp.zeros((1, 64, 32, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 3_206_976


def test_stages_and_strides():
    def shape(**options):
        module = BACKBONES['mobilenet_v1'].constructor(**options)
        return jax.eval_shape(lambda key, x: module.init_with_output(key, x)[0], jax.random.key(0), jnp.zeros((1, 128, 64, 3))).shape

    assert shape() == (1, 8, 4, 1024)
    assert shape(last_stride=2) == (1, 4, 2, 1024)
