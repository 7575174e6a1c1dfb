import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models import BACKBONES
from jreid.models.efficientnet_lite import InvertedBottleneck
from jreid.models.weights.loading import WeightsError, default_weights, load_into


@pytest.fixture(scope='module')
def pretrained():
    try:
        path = default_weights('efficientnet_lite0')
    except WeightsError as error:
        pytest.skip(str(error))
    module = BACKBONES['efficientnet_lite0'].constructor()
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 32, 3)))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return load_into(empty, path, backbone='efficientnet_lite0', strict=True)


@pytest.mark.parametrize('size', ['128x64', pytest.param('224x224', marks=pytest.mark.slow)])
def test_equals_the_torch_network(golden, pretrained, size):
    reference = np.load(golden / 'efficientnet_lite0.npz')
    record = BACKBONES['efficientnet_lite0']
    images = (reference[f'image_{size}'].astype(np.float32) - np.array(record.mean)) / np.array(
        record.std
    )
    module = record.constructor(last_stride=2)
    pooled = jax.jit(module.apply)(pretrained[0], images.astype(np.float32)).mean((1, 2))
    np.testing.assert_allclose(pooled, reference[f'pooled_{size}'], atol=1e-4)


def test_report_names_what_is_not_used(pretrained):
    report = pretrained[1]
    assert report.unset == ()
    assert {name for name in report.unused if 'num_batches_tracked' not in name} == {
        '_fc.weight',
        '_fc.bias',
    }
    assert '_fc.weight' in report.summary()


@pytest.mark.slow
def test_last_stride_and_stages(pretrained):
    images = jnp.asarray(np.random.default_rng(0).standard_normal((1, 64, 32, 3), dtype=np.float32))
    module = BACKBONES['efficientnet_lite0'].constructor()

    @jax.jit
    def both(variables, images):
        middle = module.apply(variables, images, method='stem_to_stage3')
        return (
            middle,
            module.apply(variables, middle, method='stage4'),
            module.apply(variables, images),
        )

    middle, rerun, whole = both(pretrained[0], images)
    assert middle.shape == (1, 4, 2, 112)
    assert whole.shape == (1, 4, 2, 1280)
    np.testing.assert_allclose(rerun, whole, atol=1e-5)


@pytest.mark.slow
def test_block_trains_the_same_in_both_writings():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6, 4, 8), dtype=np.float32))

    def gradient(writing):
        module = InvertedBottleneck(8, 5, 1, 6, writing=writing)
        variables = module.init(jax.random.key(0), x, True)
        return jax.jit(
            jax.grad(
                lambda p: jnp.sum(
                    module.apply({**variables, 'params': p}, x, True, mutable=['batch_stats'])[0]
                    ** 3
                )
            )
        )(variables['params'])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * float(jnp.abs(b).max()) + 1e-5),
        gradient('shifted'),
        gradient('grouped'),
    )
