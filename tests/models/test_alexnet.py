import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.alexnet import (
    AlexNet,
    AlexNetDense,
    AlexNetStem,
    AlexNetTrunk,
    alexnet,
    caffenet,
    initial,
    local_response_norm,
    max_pool_ceil,
)
from jreid.models.convolution import Conv
from jreid.models.weights.loading import place_weights


def maps(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize('size', [3, 4, 5])
def test_local_response_norm_equals_torch(size):
    torch = pytest.importorskip('torch')
    x = 10 * maps(0, 2, 3, 4, 9)
    expected = torch.nn.functional.local_response_norm(
        torch.tensor(x).permute(0, 3, 1, 2), size, alpha=0.01, beta=0.75, k=2.0
    )
    np.testing.assert_allclose(
        local_response_norm(jnp.asarray(x), size=size, alpha=0.01, k=2.0),
        expected.permute(0, 2, 3, 1).numpy(),
        rtol=1e-5,
    )


@pytest.mark.parametrize('length', [3, 4, 5, 6, 13, 27, 54])
@pytest.mark.parametrize(('size', 'stride'), [(3, 2), (2, 3)])
def test_max_pool_rounds_up_as_torch_does(length, size, stride):
    torch = pytest.importorskip('torch')
    x = maps(0, 1, length, length + 1, 2)
    expected = torch.nn.functional.max_pool2d(
        torch.tensor(x).permute(0, 3, 1, 2), size, stride, ceil_mode=True
    )
    np.testing.assert_array_equal(
        max_pool_ceil(jnp.asarray(x), size=size, stride=stride),
        expected.permute(0, 2, 3, 1).numpy(),
    )


def test_max_pool_has_torchs_gradient_under_jit():
    torch = pytest.importorskip('torch')
    x, weight = maps(0, 2, 6, 7, 3), maps(1, 2, 3, 3, 3)
    given = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
    (
        torch.nn.functional.max_pool2d(given, 3, 2, ceil_mode=True).permute(0, 2, 3, 1)
        * torch.tensor(weight)
    ).sum().backward()
    found = jax.jit(jax.grad(lambda x: jnp.sum(max_pool_ceil(x) * weight)))(jnp.asarray(x))
    np.testing.assert_allclose(found, given.grad.permute(0, 2, 3, 1).numpy(), rtol=1e-6)


@pytest.mark.parametrize('extreme', [1e6, 1e-22, 0.0])
def test_local_response_norm_has_finite_gradients(extreme):
    slope = jax.jit(jax.grad(lambda x: jnp.sum(local_response_norm(x))))
    found = slope(np.float32(extreme) * maps(0, 1, 2, 2, 6))
    assert np.isfinite(found).all()


def test_map_that_is_too_small_to_pool():
    with pytest.raises(
        ValueError, match='a map of 4x1 is too small to be pooled by 3x3; use larger images'
    ):
        max_pool_ceil(jnp.zeros((1, 4, 1, 2)))


def torch_alexnet(torch, weights, x, pool_first):
    functional = torch.nn.functional

    def conv(x, index, **options):
        return functional.relu(
            functional.conv2d(
                x,
                torch.tensor(weights[f'conv{index}.weight']),
                torch.tensor(weights[f'conv{index}.bias']),
                **options,
            )
        )

    def norm_pool(x):
        for step in ('pool', 'norm') if pool_first else ('norm', 'pool'):
            if step == 'pool':
                x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
            else:
                x = functional.local_response_norm(x, 5, 1e-4, 0.75, 1.0)
        return x

    x = norm_pool(conv(norm_pool(conv(x, 1, stride=4)), 2, padding=2, groups=2))
    x = conv(conv(conv(x, 3, padding=1), 4, padding=1, groups=2), 5, padding=1, groups=2)
    return functional.max_pool2d(x, 3, 2, ceil_mode=True)


@pytest.mark.parametrize(('make', 'pool_first'), [(alexnet, False), (caffenet, True)])
def test_whole_network_equals_torch_with_caffes_blue_first_weights(make, pool_first):
    torch = pytest.importorskip('torch')
    shapes = {
        'conv1': (96, 3, 11, 11),
        'conv2': (256, 48, 5, 5),
        'conv3': (384, 256, 3, 3),
        'conv4': (384, 192, 3, 3),
        'conv5': (256, 192, 3, 3),
    }
    weights = {}
    for i, (name, shape) in enumerate(shapes.items()):
        weights[f'{name}.weight'] = maps(i, *shape) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        weights[f'{name}.bias'] = 0.1 * maps(10 + i, shape[0])
    images = 50 * maps(20, 1, 99, 99, 3)
    module = make()
    shaped = jax.eval_shape(module.init, jax.random.key(0), images)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shaped))
    variables, _ = place_weights(empty, weights, path='caffe', backbone='alexnet', strict=True)
    blue_first = torch.tensor(images[..., ::-1].copy()).permute(0, 3, 1, 2)
    expected = torch_alexnet(torch, weights, blue_first, pool_first).permute(0, 2, 3, 1).numpy()
    found = jax.jit(module.apply)(variables, images)
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize('pool_first', [False, True])
def test_order_of_pooling_and_normalisation(pool_first):
    x = 200 * maps(0, 1, 51, 51, 3)
    stem = AlexNetStem((8, 8), pool_first=pool_first, initial='he')
    other = AlexNetStem((8, 8), pool_first=not pool_first, initial='he')
    assert set(jax.eval_shape(stem.init, jax.random.key(0), x)['params']) == {'conv1', 'conv2'}

    @jax.jit
    def three(x):
        params = stem.init(jax.random.key(0), x)['params']  # the arrays do not say the order
        y = x
        for name, options in (('conv1', (11, 4, 0)), ('conv2', (5, 1, 2))):
            conv = Conv(8, *options, groups=2 if name == 'conv2' else 1, use_bias=True)
            y = jax.nn.relu(conv.apply({'params': params[name]}, y))
            if pool_first:
                y = local_response_norm(max_pool_ceil(y))
            else:
                y = max_pool_ceil(local_response_norm(y))
        return y, *(module.apply({'params': params}, x) for module in (stem, other))

    y, found, turned = three(x)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)
    assert np.abs(turned - y).max() > 1e-2 * np.std(y)


def test_sizes_are_the_papers():
    def shape(module, *size):
        return jax.eval_shape(
            lambda key, x: module.init_with_output(key, x)[0],
            jax.random.key(0),
            jnp.zeros((1, *size)),
        ).shape

    assert shape(AlexNetStem(), 224, 224, 3) == (1, 13, 13, 256)
    assert shape(AlexNetTrunk(), 13, 13, 512) == (1, 6, 6, 256)
    assert shape(AlexNetDense(), 6, 6, 256) == (1, 4096)
    assert shape(AlexNet(), 224, 224, 3) == (1, 6, 6, 256)


def test_half_sized_images_keep_the_grid_with_half_the_stride():
    def shape(size, **options):
        stem = AlexNetStem(**options)
        return jax.eval_shape(
            lambda key, x: stem.init_with_output(key, x)[0],
            jax.random.key(0),
            jnp.zeros((1, *size, 3)),
        ).shape

    assert shape((224, 112)) == (1, 13, 6, 256)
    assert shape((112, 56), first_stride=2, widths=(16, 32)) == (1, 12, 5, 32)


def test_random_start():
    """Caffe's published deviations and biases; narrower layers keep the size of the signals;
    'he' for images of deviation 58.
    """

    def drawn(layer, how, shape):
        made = initial(layer, how)
        return np.std(made['kernel_init'](jax.random.key(0), shape, jnp.float32)), float(
            made['bias_init'](jax.random.key(0), (2,), jnp.float32)[0]
        )

    assert drawn('conv2', 'caffe', (5, 5, 48, 256)) == (
        pytest.approx(0.01, rel=0.02),
        pytest.approx(0.1),
    )
    assert drawn('conv2', 'caffe', (5, 5, 12, 64)) == (
        pytest.approx(0.02, rel=0.02),
        pytest.approx(0.1),
    )
    assert drawn('fc7', 'caffe', (1024, 1024)) == (
        pytest.approx(0.005 * 2, rel=0.02),
        pytest.approx(0.1),
    )
    assert drawn('conv1', 'he', (11, 11, 3, 96)) == (
        pytest.approx((2 / 363) ** 0.5 / 58, rel=0.02),
        0.0,
    )
    with pytest.raises(ValueError, match="initial weights are 'xavier'; expected 'caffe' or 'he'"):
        initial('conv1', 'xavier')


def test_channels_that_do_not_halve_are_an_error():
    with pytest.raises(ValueError, match='expected five even numbers'):
        AlexNet(widths=(3, 4, 4, 4, 4)).init(jax.random.key(0), jnp.zeros((1, 99, 99, 3)))


def test_another_last_stride_is_an_error():
    with pytest.raises(ValueError, match='last_stride is 2'):
        AlexNet(last_stride=2).init(jax.random.key(0), jnp.zeros((1, 99, 99, 3)))
