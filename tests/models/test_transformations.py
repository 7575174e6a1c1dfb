"""Every backbone under JAX's transformations: forward mode, vmap, and export for all platforms.

What is written for a CPU's speed is chosen where a function is lowered, so that it costs no
transformation elsewhere.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models import BACKBONES, backbones, efficientnet_lite, mobilenet

SMALL = {
    'alexnet': {'widths': (8, 8, 8, 8, 8), 'first_stride': 2},
    'caffenet': {'widths': (8, 8, 8, 8, 8), 'first_stride': 2},
    'efficientnet_lite0': {'features': 64},
    'osnet_x0_25': {'widths': (4, 8, 8, 12), 'embedding': True},
    'small_cnn': {'widths': (8, 16, 32)},
    'vit_small_16': {'width': 8, 'heads': 2, 'depth': 2, 'stride': 8, 'tokens': 'patches'},
}
BLOCKS = {
    'resnet18': (1, 1, 0, 0),
    'resnet34': (1, 1, 0, 0),
    'resnet50': (2, 1, 0, 0),
    'resnet50_ibn_a': (2, 1, 0, 0),
}
"""Blocks per stage, one of each kind: with stride and without, with a convolution as its shortcut
and without. The other blocks of a network have the same layers, with more channels.
"""
MANY = ('osnet_x0_25', 'resnet50_ibn_a')
"""Backbones whose layers take seconds to trace: in the slow suite alone."""
DEEP = ('efficientnet_lite0', 'mobilenet_v1', 'resnet18', *MANY)
"""Backbones whose numbers are compared in the slow suite; they are traced in the default one."""
ALIKE = {'caffenet', 'osnet_ain_x1_0', 'osnet_x1_0', 'osnet_x0_75', 'osnet_x0_5', 'vit_base_16'}
"""Networks that have the layers of others, in another order or with more channels."""
MORE = {'resnet34', 'resnet50'}
"""Networks of which others have all layers, resnet18 and resnet50_ibn_a: they are traced alone."""
NAMES = sorted(set(BACKBONES) - ALIKE)
TRACED = [pytest.param(n, marks=pytest.mark.slow if n in MANY else ()) for n in NAMES]
NUMBERS = [
    pytest.param(n, marks=pytest.mark.slow if n in DEEP else ()) for n in NAMES if n not in MORE
]
SIZES = {'alexnet': (64, 48), 'caffenet': (64, 48)}
PLATFORMS = ('cpu', 'cuda', 'tpu')


@pytest.fixture(scope='module')
def few_blocks():
    """MobileNet and EfficientNet-Lite without the blocks that are others again."""
    with pytest.MonkeyPatch.context() as patch:
        # The five blocks of 512 channels in and out are one.
        patch.setattr(mobilenet, 'BLOCKS', mobilenet.BLOCKS[:7] + mobilenet.BLOCKS[11:])
        patch.setattr(mobilenet, 'LAST_STRIDED', 7)
        # A stage repeats its second block; with a kernel of 3 and of 5, there is one such stage.
        stages = [
            stage._replace(repeats=2 if number in (1, 2) else 1)
            for number, stage in enumerate(efficientnet_lite.STAGES)
        ]
        patch.setattr(efficientnet_lite, 'STAGES', tuple(stages))
        yield


@pytest.fixture(scope='module')
def network(request, few_blocks):
    """(name, parameters, inference, training), both passes of parameters and images."""
    name = request.param
    module, _ = backbones.build(name, SMALL.get(name, {}))
    if name in BLOCKS:
        module = module.clone(blocks=BLOCKS[name])
    image = jnp.zeros((1, *SIZES.get(name, (32, 16)), 3))
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))
    rng = np.random.default_rng(0)
    # Statistics must be positive, and parameters small, so that no activation overflows.
    variables = jax.tree.map(
        lambda leaf: (
            rng.uniform(0.02, 0.1, leaf.shape).astype(np.float32)
            * rng.choice([-1, 1], leaf.shape).astype(np.float32)
        ),
        shapes,
    )
    statistics = jax.tree.map(np.abs, variables.get('batch_stats', {}))

    def inference(params, images):
        return module.apply({'params': params, 'batch_stats': statistics}, images, train=False)

    def training(params, images):
        bound = {'params': params, 'batch_stats': statistics}
        return module.apply(bound, images, train=True, mutable=['batch_stats'])[0]

    return name, variables['params'], inference, training


def images_for(name, count=2):
    shape = (count, *SIZES.get(name, (32, 16)), 3)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def exported_for_all(name, params, inference):
    (batch,) = jax.export.symbolic_shape('b')
    shape = (batch, *images_for(name).shape[1:])
    return jax.export.export(jax.jit(inference), platforms=PLATFORMS)(
        params, jax.ShapeDtypeStruct(shape, jnp.float32)
    )


@pytest.mark.parametrize('network', TRACED, indirect=True)
def test_forward_mode_traces_through_the_training_pass(network):
    name, params, _, training = network
    inputs = (params, images_for(name))
    out, tangent = jax.eval_shape(lambda *x: jax.jvp(training, x, x), *inputs)
    assert out.shape == tangent.shape
    assert out.shape[0] == 2


@pytest.mark.parametrize('network', NUMBERS, indirect=True)
def test_forward_mode_agrees_with_reverse_mode(network):
    """<w, J v> = <J^T w, v> for the training pass, in parameters and images."""
    name, params, _, training = network
    images = images_for(name)
    rng = np.random.default_rng(2)

    def like(tree):
        return jax.tree.map(lambda x: rng.normal(size=np.shape(x)).astype(np.float32), tree)

    tangents = (jax.tree.map(lambda x: 0.1 * x, like(params)), like(images))

    @jax.jit
    def both(params, images, tangents, seed):
        out, pushed = jax.jvp(training, (params, images), tangents)
        weights = jax.random.normal(jax.random.key(seed), out.shape)
        _, pull = jax.vjp(training, params, images)
        pulled = pull(weights)
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), pulled, tangents)
        scale = jnp.linalg.norm(pushed) * jnp.linalg.norm(weights)
        return jnp.sum(pushed * weights), sum(jax.tree.leaves(products)), scale

    forward, backward, scale = both(params, images, tangents, 3)
    assert np.isfinite(forward)
    assert scale > 0
    np.testing.assert_allclose(forward / scale, backward / scale, atol=1e-4)


@pytest.mark.parametrize('network', NUMBERS, indirect=True)
def test_vmap_and_an_export_for_all_platforms_give_the_numbers_of_a_plain_call(network):
    """The exported network takes batches of any size; it is stored and read before it is called."""
    name, params, inference, _ = network
    images = images_for(name, 4).reshape(2, 2, *images_for(name).shape[1:])
    plain = jax.jit(inference)
    expected = np.stack([plain(params, part) for part in images])
    scale = np.abs(expected).max()
    mapped = jax.jit(jax.vmap(inference, in_axes=(None, 0)))(params, images)
    np.testing.assert_allclose(mapped / scale, expected / scale, atol=1e-5)
    exported = exported_for_all(name, params, inference)
    assert exported.platforms == PLATFORMS
    found = jax.export.deserialize(exported.serialize()).call(params, images[1])
    np.testing.assert_allclose(found / scale, expected[1] / scale, atol=1e-5)


@pytest.mark.parametrize('name', ['small_cnn', 'mobilenet_v1'])
def test_gradient_is_lowered_for_the_platform_and_not_for_this_machine(name):
    """On this CPU, a step lowered for a GPU has XLA's own convolutions alone."""
    module, _ = backbones.build(name, SMALL.get(name, {}))
    image = jnp.zeros((2, 32, 16, 3))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))

    def loss(variables, images):
        out, _ = module.apply(variables, images, train=True, mutable=['batch_stats'])
        return jnp.sum(out)

    traced = jax.jit(jax.grad(loss)).trace(variables, image)
    texts = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ('cpu', 'cuda')
    }
    grouped = {
        platform: text.count('feature_group_count = 32') + text.count('batch_group_count = 32')
        for platform, text in texts.items()
    }
    if name == 'mobilenet_v1':
        assert grouped['cuda'] > grouped['cpu'] == 0
    assert texts['cuda'].count('stablehlo.convolution') >= texts['cpu'].count(
        'stablehlo.convolution'
    )
