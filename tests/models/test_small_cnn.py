import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jreid.models import BACKBONES
from jreid.models.heads import BNNeck, Classifier, average_pool

WIDER = {'caffenet', 'osnet_x0_5', 'osnet_x0_75', 'osnet_x1_0', 'resnet34', 'vit_base_16'}
"""Other backbones with another order, more channels or more blocks: they are not traced."""
QUICK = {'tiny_cnn', 'small_cnn', 'alexnet', 'mobilenet_v1', 'resnet18'}
"""Backbones whose trace takes little; files of their own trace the others, too."""


def test_backbones_have_the_features_that_their_records_say():
    for name, record in BACKBONES.items():
        assert record.features == record.constructor().features, name


@pytest.mark.parametrize(
    'names', [QUICK, pytest.param(None, marks=pytest.mark.slow)], ids=['quick', 'all']
)
def test_maps_of_backbones_agree_with_their_records(names):
    for name in (set(BACKBONES) - WIDER) if names is None else names:
        record = BACKBONES[name]
        module = record.constructor()
        images = jnp.zeros((1, 224, 224, 3) if name in ('alexnet', 'caffenet') else (1, 64, 32, 3))
        maps = jax.eval_shape(
            lambda key, x, m=module: m.init_with_output(key, x)[0], jax.random.key(0), images
        )
        assert maps.shape[-1] == record.features, name
        assert maps.dtype == jnp.float32


def test_tiny_network_learns_four_classes():
    module, neck, classifier = BACKBONES['tiny_cnn'].constructor(), BNNeck(), Classifier(4)
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 8)
    images = jnp.asarray(
        rng.standard_normal((4, 32, 16, 3))[labels] + 0.3 * rng.standard_normal((32, 32, 16, 3)),
        jnp.float32,
    )
    optimizer = optax.adam(1e-2)

    @jax.jit
    def start():
        variables = module.init(jax.random.key(0), images)
        parts = {
            'net': variables['params'],
            'neck': neck.init(jax.random.key(1), jnp.zeros((2, 32))),
            'head': classifier.init(jax.random.key(2), jnp.zeros((2, 32))),
        }
        return variables, parts, optimizer.init(parts)

    variables, parts, state = start()

    @jax.jit
    def step(parts, state):
        def loss(parts):
            maps, _ = module.apply(
                {'params': parts['net'], 'batch_stats': variables['batch_stats']},
                images,
                train=True,
                mutable=['batch_stats'],
            )
            features, _ = neck.apply(
                parts['neck'], average_pool(maps), True, mutable=['batch_stats']
            )
            logits = classifier.apply(parts['head'], features)
            return (
                optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(),
                (logits.argmax(-1) == labels).mean(),
            )

        (value, accuracy), gradient = jax.value_and_grad(loss, has_aux=True)(parts)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(parts, updates), state, value, accuracy

    for _ in range(30):
        parts, state, value, accuracy = step(parts, state)
    assert accuracy == 1.0
    assert value < 0.3


def test_stages_compose_and_last_stride_halves():
    module = BACKBONES['tiny_cnn'].constructor()
    images = jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 16, 3), dtype=np.float32))
    halving = BACKBONES['tiny_cnn'].constructor(last_stride=2)

    @jax.jit
    def maps():
        variables = module.init(jax.random.key(0), images)
        middle = module.apply(variables, images, method='stem_to_stage3')
        joined = module.apply(variables, middle, method='stage4')
        return joined, module.apply(variables, images), halving.apply(variables, images)

    joined, whole, halved = maps()
    np.testing.assert_allclose(joined, whole, atol=1e-6)
    assert halved.shape == (1, whole.shape[1] // 2, whole.shape[2] // 2, 32)
