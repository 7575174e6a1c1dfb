"""Recomputed blocks and bfloat16: the same parameters, values and gradients (close, in
bfloat16), less memory.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models import BACKBONES, backbones
from jreid.models.resnet import BasicBlock, Bottleneck, ResNet
from jreid.models.small_cnn import SmallCNN

BLOCKS = {
    'resnet18': 8,
    'resnet34': 16,
    'resnet50': 16,
    'efficientnet_lite0': 16,
    'mobilenet_v1': 13,
    'resnet50_ibn_a': 16,
    'vit_small_16': 12,
    'vit_base_16': 12,
    'osnet_ain_x1_0': 6,
    'osnet_x1_0': 6,
    'osnet_x0_75': 6,
    'osnet_x0_5': 6,
    'osnet_x0_25': 6,
    'alexnet': 2,
    'caffenet': 2,
    'small_cnn': 5,
    'tiny_cnn': 3,
}
MANY = ('vit_small_16', 'osnet_ain_x1_0', 'osnet_x0_25')
"""Networks whose blocks are fewer than 13, but of many layers each."""
ALIKE = {'caffenet', 'osnet_x1_0', 'osnet_x0_75', 'osnet_x0_5', 'resnet34', 'vit_base_16'}
"""Networks that are another one of these with another order, more channels or more blocks."""
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 32, 16, 3)), jnp.float32)


def loss_of(module):
    def loss(params, statistics, images):
        maps, moved = module.apply(
            {'params': params, 'batch_stats': statistics},
            images,
            train=True,
            mutable=['batch_stats'],
        )
        return jnp.mean(jnp.square(maps) * jnp.arange(maps.shape[-1])), moved

    return jax.value_and_grad(loss, has_aux=True)


def test_every_backbone_is_listed():
    assert set(BLOCKS) == set(BACKBONES)


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=pytest.mark.slow if BLOCKS[name] >= 13 or name in MANY else ())
        for name in sorted(set(BLOCKS) - ALIKE)
    ],
)
def test_every_block_of_every_backbone_is_recomputed_and_no_parameter_is_renamed(name):
    """Traced forward; what marked blocks keep for the backward pass is shown below."""
    size = (1, 224, 224, 3) if name in ('alexnet', 'caffenet') else (1, 32, 16, 3)
    image, shapes, counts = jax.ShapeDtypeStruct(size, jnp.float32), [], []
    for remat in (False, True):
        module, _ = backbones.build(name, {}, remat=remat)
        variables = jax.eval_shape(
            lambda x, m=module: m.init(jax.random.key(0), x, train=False), image
        )
        shapes.append(variables)

        def training(variables, images, m=module):
            return m.apply(variables, images, train=True, mutable=['batch_stats'])

        counts.append(str(jax.make_jaxpr(training)(variables, image)).count('prevent_cse=True'))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes[0]) == jax.tree.map(
        lambda x: (x.shape, x.dtype), shapes[1]
    )
    assert counts[0] == 0
    assert counts[1] >= BLOCKS[name]


def small(**options):
    return SmallCNN((8, 16, 32), **options)


def test_recomputed_blocks_start_with_the_same_values():
    """Values are drawn by a parameter's name, and no backbone's names change."""
    variables, again = (
        jax.jit(lambda m=m: m.init(jax.random.key(0), IMAGES, train=False))()
        for m in (small(), small(remat=True))
    )
    jax.tree.map(np.testing.assert_array_equal, variables, again)


def drawn(module):
    """Variables of usual sizes: what compiles the initial ones takes longer than a step."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), IMAGES, train=False))
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        if path[-1].key in ('scale', 'var'):
            return np.ones(leaf.shape, np.float32)
        size = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.1
        return (size * rng.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize(
    'make',
    [
        small,
        pytest.param(
            lambda **o: ResNet((1, 1, 0, 0), BasicBlock, 512, **o), marks=pytest.mark.slow
        ),
        pytest.param(
            lambda **o: ResNet((2, 0, 0, 0), Bottleneck, 2048, **o), marks=pytest.mark.slow
        ),
    ],
    ids=['small', 'basic', 'bottleneck'],
)
def test_recomputed_values_statistics_and_gradients_are_the_plain_ones(make):
    variables = drawn(make())
    plain, recomputed = (
        jax.jit(loss_of(make(remat=remat)))(variables['params'], variables['batch_stats'], IMAGES)
        for remat in (False, True)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * (1 + np.abs(a).max())),
        plain,
        recomputed,
    )


def test_only_the_inputs_of_blocks_are_kept_for_the_backward_pass():
    """Counted in the backward function's own arrays: what a compiler makes of it differs (XLA's
    on CPUs keeps as much memory either way).
    """
    kept = []
    for remat in (False, True):
        module = ResNet((4, 4, 1, 1), Bottleneck, 2048, remat=remat)
        images = jax.ShapeDtypeStruct((8, 128, 64, 3), jnp.float32)
        variables = jax.eval_shape(
            lambda x, m=module: m.init(jax.random.key(0), x, train=False), images
        )

        def forward(params, statistics, images, m=module):
            return m.apply(
                {'params': params, 'batch_stats': statistics},
                images,
                train=True,
                mutable=['batch_stats'],
            )[0]

        def backward(params, statistics, images, forward=forward):
            return jax.vjp(lambda p: forward(p, statistics, images), params)[1]

        residuals = jax.eval_shape(backward, variables['params'], variables['batch_stats'], images)
        kept.append(
            sum(
                x.size * x.dtype.itemsize
                for x in jax.tree.leaves(residuals)
                if x.ndim == 4 and x.shape[0] == 8
            )
        )
    assert 0 < kept[1] < 0.4 * kept[0], kept


def test_bfloat16_computes_in_it_and_keeps_parameters_statistics_and_map_in_float32():
    found = {}
    for dtype in ('float32', 'bfloat16'):
        module, _ = backbones.build('tiny_cnn', {}, compute_dtype=dtype)
        variables = jax.jit(lambda m=module: m.init(jax.random.key(0), IMAGES, train=False))()
        step = jax.jit(loss_of(module))
        assert (
            'bf16'
            in str(
                jax.make_jaxpr(loss_of(module))(
                    variables['params'], variables['batch_stats'], IMAGES
                )
            )
        ) == (dtype == 'bfloat16')
        found[dtype] = (variables, step(variables['params'], variables['batch_stats'], IMAGES))
        assert {x.dtype for x in jax.tree.leaves(found[dtype])} == {jnp.dtype('float32')}
        maps = jax.eval_shape(lambda v, m=module: m.apply(v, IMAGES, train=False), variables)
        assert maps.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, found['float32'][0], found['bfloat16'][0])
    (exact, _), gradient = found['float32'][1]
    (close, _), near = found['bfloat16'][1]
    assert abs(close / exact - 1) < 0.02
    flat, other = (
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (gradient, near)
    )
    assert np.dot(flat, other) / np.linalg.norm(flat) / np.linalg.norm(other) > 0.98
    assert not np.array_equal(flat, other)
