import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models import BACKBONES
from jreid.models.resnet import BasicBlock, ResNet
from jreid.models.weights.loading import place_weights

BLOCKS = (3, 4, 6, 3)


def torch_shapes():
    """Names and shapes of torchvision's ResNet-50 state_dict, from the paper's Table 1."""
    shapes = {'conv1.weight': (64, 3, 7, 7), 'fc.weight': (1000, 2048), 'fc.bias': (1000,)}

    def add(conv, norm, *shape):
        shapes[f'{conv}.weight'] = shape
        shapes.update(
            {
                f'{norm}.{leaf}': shape[:1]
                for leaf in ('weight', 'bias', 'running_mean', 'running_var')
            }
        )

    add('conv1', 'bn1', 64, 3, 7, 7)
    channels = 64
    for stage, count in enumerate(BLOCKS):
        width = 64 * 2**stage
        for block in range(count):
            name = f'layer{stage + 1}.{block}.'
            add(name + 'conv1', name + 'bn1', width, channels, 1, 1)
            add(name + 'conv2', name + 'bn2', width, width, 3, 3)
            add(name + 'conv3', name + 'bn3', 4 * width, width, 1, 1)
            if block == 0:
                add(name + 'downsample.0', name + 'downsample.1', 4 * width, channels, 1, 1)
            channels = 4 * width
    return shapes


def golden_weights(keys):
    """The weights that tests/golden/README.md prescribes."""
    shapes, weights = torch_shapes(), {}
    assert set(keys) == set(shapes)
    for i, key in enumerate(keys):
        rng, shape = np.random.default_rng([1, i]), shapes[key]
        if key.endswith('running_var'):
            value = rng.uniform(0.5, 1.5, shape)
        elif key.endswith('running_mean'):
            value = 0.1 * rng.standard_normal(shape)
        elif len(shape) == 1:
            value = (
                rng.uniform(0.5, 1.5, shape)
                if key.endswith('weight')
                else 0.1 * rng.standard_normal(shape)
            )
        else:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        weights[key] = value.astype(np.float32)
    return weights


@pytest.mark.slow
def test_resnet50_equals_torchvision(golden):
    reference = np.load(golden / 'resnet50.npz')
    build = BACKBONES['resnet50'].constructor
    shapes = jax.eval_shape(build().init, jax.random.key(0), jnp.zeros((1, 64, 32, 3)))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    variables, report = place_weights(
        empty, golden_weights(reference['keys']), path='golden', backbone='resnet50', strict=True
    )
    assert report.unused == ('fc.bias', 'fc.weight')
    images = np.random.default_rng([1, 10000]).standard_normal((2, 64, 32, 3)).astype(np.float32)
    stage3 = jax.jit(lambda v, x: build().apply(v, x, method='stem_to_stage3'))(variables, images)
    for stat, value in (('means', stage3.mean()), ('stds', stage3.std())):
        assert float(value) == pytest.approx(reference[f'last_stride1_stage_{stat}'][2], rel=1e-4)
    for stride in (1, 2):
        module = build(last_stride=stride)
        maps = jax.jit(lambda v, x, m=module: m.apply(v, x, method='stage4'))(variables, stage3)
        assert maps.transpose(0, 3, 1, 2).shape == tuple(reference[f'last_stride{stride}_shape'])
        for name, pooled in (('average', maps.mean((1, 2))), ('max', maps.max((1, 2)))):
            expected = reference[f'last_stride{stride}_{name}_pooled']
            assert np.abs(pooled - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize('name', ['resnet18', 'resnet34', 'resnet50'])
def test_parameter_count_is_torchvisions(name):
    """Table of torchvision's model page (11,689,512; 21,797,672; 25,557,032) less its 1000-way
    classifier.
    """
    record = BACKBONES[name]
    expected = {'resnet18': 11_689_512, 'resnet34': 21_797_672, 'resnet50': 25_557_032}[
        name
    ] - 1000 * (record.features + 1)
    variables = jax.eval_shape(
        record.constructor().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == expected


def test_training_gives_a_float32_map_and_moves_every_statistic():
    module = ResNet((1, 1, 1, 1), BasicBlock, 512, dtype=jnp.bfloat16)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 32, 16, 3), dtype=np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.01, 0.1, leaf.shape).astype(np.float32), dict(shapes)
    )
    maps, updates = jax.jit(lambda v, x: module.apply(v, x, train=True, mutable=['batch_stats']))(
        variables, images
    )
    assert maps.shape == (2, 2, 1, 512)
    assert maps.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updates))
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()), variables['batch_stats'], updates['batch_stats']
    )
    assert all(jax.tree.leaves(moved))
