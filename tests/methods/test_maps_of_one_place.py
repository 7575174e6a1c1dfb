"""Systems that look at places of the map refuse backbones that give one place."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jreid.methods import mtdnet
from jreid.methods.common.baseline import Network
from jreid.methods.common.maps import spatial_maps
from jreid.methods.contract import Method, Problem, State
from jreid.methods.settings.mtdnet import Settings
from jreid.models import BACKBONES

BACKBONE = BACKBONES['vit_small_16'].constructor(width=8, heads=2, depth=1)


@pytest.mark.parametrize(
    ('sizes', 'what'), [({'parsing_classes': 8}, 'parsing'), ({'joint_width': 8}, 'halves')]
)
def test_parsing_and_halves_need_rows(sizes, what):
    network = Network(BACKBONE, 0, **sizes)
    images = jax.ShapeDtypeStruct((2, 32, 16, 3), jnp.float32)
    with pytest.raises(ValueError, match=f'map of 32x16 images is 1x1, and {what} need 2 rows'):
        jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), images)


def test_mtdnet_needs_stages():
    problem = Problem((32, 16), 8, 300, 100, target_labelled=True)
    with pytest.raises(ValueError, match='VisionTransformer has none; set model.backbone'):
        mtdnet.mtdnet(BACKBONE, problem, Settings())


def test_nothing_is_drawn_on_one_place():
    class Average(nn.Module):
        def __call__(self, images, train=False):
            return images.mean((1, 2), keepdims=True)

    class Whole(nn.Module):
        backbone: nn.Module

        def __call__(self, images):
            return self.backbone(images)[:, 0, 0]

    method = Method(
        'plain',
        (),
        init=lambda key: ({}, State({}, {})),
        embed=lambda params, state, images, domain: Whole(Average()).apply({}, images),
    )
    with pytest.raises(ValueError, match='map of backbone has one place'):
        spatial_maps(method, {}, State({}, {}), jnp.zeros((2, 8, 4, 3)), 'target')
