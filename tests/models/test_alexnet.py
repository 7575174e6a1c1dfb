import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.alexnet import AlexNet, AlexNetDense, AlexNetStem, AlexNetTrunk, local_response_norm, max_pool_ceil
from jreid.models.pretrained import place_weights


def maps(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize('size', [3, 4, 5])
def test_local_response_norm_equals_torch(size):
    torch = pytest.importorskip('torch')
    x = 10 * maps(0, 2, 3, 4, 9)
    expected = torch.nn.functional.local_response_norm(torch.tensor(x).permute(0, 3, 1, 2), size, alpha=0.01, beta=0.75, k=2.0)
    np.testing.assert_allclose(local_response_norm(jnp.asarray(x), size=size, alpha=0.01, k=2.0), expected.permute(0, 2, 3, 1).numpy(), rtol=1e-5)


@pytest.mark.parametrize('length', [3, 4, 5, 6, 13, 27, 54])
@pytest.mark.parametrize(('size', 'stride'), [(3, 2), (2, 3)])
def test_max_pool_rounds_up_as_torch_does(length, size, stride):
    torch = pytest.importorskip('torch')
    x = maps(0, 1, length, length + 1, 2)
    expected = torch.nn.functional.max_pool2d(torch.tensor(x).permute(0, 3, 1, 2), size, stride, ceil_mode=True)
    np.testing.assert_array_equal(max_pool_ceil(jnp.asarray(x), size=size, stride=stride), expected.permute(0, 2, 3, 1).numpy())


def torch_alexnet(torch, weights, x):
    functional = torch.nn.functional

    def conv(x, index, **options):
        return functional.relu(functional.conv2d(x, torch.tensor(weights[f'conv{index}.weight']), torch.tensor(weights[f'conv{index}.bias']), **options))

    def norm_pool(x):
        return functional.max_pool2d(functional.local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2, ceil_mode=True)

    x = norm_pool(conv(norm_pool(conv(x, 1, stride=4)), 2, padding=2, groups=2))
    x = conv(conv(conv(x, 3, padding=1), 4, padding=1, groups=2), 5, padding=1, groups=2)
    return functional.max_pool2d(x, 3, 2, ceil_mode=True)


def test_whole_network_equals_torch_with_caffes_blue_first_weights():
    torch = pytest.importorskip('torch')
    shapes = {'conv1': (96, 3, 11, 11), 'conv2': (256, 48, 5, 5), 'conv3': (384, 256, 3, 3), 'conv4': (384, 192, 3, 3), 'conv5': (256, 192, 3, 3)}
    weights = {}
    for i, (name, shape) in enumerate(shapes.items()):
        weights[f'{name}.weight'] = maps(i, *shape) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        weights[f'{name}.bias'] = 0.1 * maps(10 + i, shape[0])
    images = 50 * maps(20, 1, 99, 99, 3)
    module = AlexNet()
    shaped = jax.eval_shape(module.init, jax.random.key(0), images)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shaped))
    variables, _ = place_weights(empty, weights, path='caffe', backbone='alexnet', strict=True)
    blue_first = torch.tensor(images[..., ::-1].copy()).permute(0, 3, 1, 2)
    expected = torch_alexnet(torch, weights, blue_first).permute(0, 2, 3, 1).numpy()
    found = jax.jit(module.apply)(variables, images)
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


def test_sizes_are_the_papers():
    def shape(module, *size):
        return jax.eval_shape(lambda key, x: module.init_with_output(key, x)[0], jax.random.key(0), jnp.zeros((1, *size))).shape

    assert shape(AlexNetStem(), 224, 224, 3) == (1, 13, 13, 256)
    assert shape(AlexNetTrunk(), 13, 13, 512) == (1, 6, 6, 256)
    assert shape(AlexNetDense(), 6, 6, 256) == (1, 4096)
    assert shape(AlexNet(), 224, 224, 3) == (1, 6, 6, 256)


def test_another_last_stride_is_an_error():
    with pytest.raises(ValueError, match='last_stride is 2'):
        AlexNet(last_stride=2).init(jax.random.key(0), jnp.zeros((1, 99, 99, 3)))
