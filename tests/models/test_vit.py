"""A ViT's options, and its positions at another size of image."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from jreid.commands.convert import convert
from jreid.models import BACKBONES
from jreid.models.osnet import OmniScaleBlock
from jreid.models.vit import VisionTransformer
from jreid.models.weights.loading import place_weights
from jreid.models.weights.positions import grid_of, resize_positions
from jreid.models.weights.tensors import WeightsError

SMALL = {'width': 8, 'heads': 2, 'depth': 1}


def shapes_of(name, image=(32, 32), **options):
    module = BACKBONES[name].constructor(**options)
    inputs = jax.ShapeDtypeStruct((1, *image, 3), jnp.float32)
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x), inputs)


@pytest.mark.parametrize('sizes', [((14, 14), (16, 8)), ((16, 8), (21, 10)), ((9, 5), (4, 2))])
def test_positions_are_resized_as_pillow_resizes_an_image(sizes):
    """Bicubic with a wider kernel where it shrinks: timm's `antialias`, which is Pillow's."""
    old, new = sizes
    positions = np.random.default_rng(0).standard_normal((*old, 3)).astype(np.float32)
    found = resize_positions(positions, new)
    for channel in range(3):
        image = Image.fromarray(positions[..., channel])
        expected = np.asarray(image.resize(new[::-1], Image.BICUBIC))
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)


def test_grid_of_positions_is_the_networks_else_a_square_else_a_persons():
    assert grid_of(36, (12, 3)) == (12, 3)
    assert grid_of(196, (16, 8)) == (14, 14)
    assert grid_of(128, (8, 4)) == (16, 8)
    assert grid_of(210, (16, 8)) == (21, 10)
    with pytest.raises(ValueError, match='197 positions of patches; expected 128'):
        grid_of(197, (16, 8))


def small_file(patches, *, extra=1):
    """The arrays of a ViT's file that make its tokens, and a head."""
    rng = np.random.default_rng(1)
    shapes = {'cls_token': (1, 1, 8), 'pos_embed': (1, extra + patches, 8), 'head.weight': (5, 8)}
    shapes |= {'dist_token': (1, 1, 8)} if extra == 2 else {}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def embedding_of(grid):
    shapes = {'class_token': (8,), 'class_position': (8,), 'positions': (*grid, 8)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return {'params': {'embedding': arrays}}


@pytest.mark.parametrize('extra', [1, 2])
def test_weights_of_another_size_are_resized_and_the_report_says_so(extra):
    file = small_file(9, extra=extra)
    weights = {f'module.backbone.{name}': array for name, array in file.items()}
    loaded, report = place_weights(embedding_of((4, 2)), weights, path='w', backbone='vit_small_16')
    found = loaded['params']['embedding']
    own = file['pos_embed'][0, extra:].reshape(3, 3, 8)
    np.testing.assert_allclose(found['positions'], resize_positions(own, (4, 2)))
    np.testing.assert_array_equal(found['class_position'], file['pos_embed'][0, 0])
    np.testing.assert_array_equal(found['class_token'], file['cls_token'][0, 0])
    assert 'positions resized from 3 x 3 patches to 4 x 2' in report.summary()
    kept = {'module.backbone.head.weight'} | (
        {'module.backbone.dist_token'} if extra == 2 else set()
    )
    assert set(report.unused) == kept


def test_positions_that_fit_no_grid_are_an_error_of_the_file():
    with pytest.raises(WeightsError, match='w.pth: 13 positions of patches; expected 8'):
        place_weights(embedding_of((4, 2)), small_file(13), path='w.pth', backbone='vit_small_16')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'last_stride': 2}, 'last_stride is 2; a ViT has no strided'),
        ({'tokens': 'all'}, "tokens is 'all'"),
        ({'stem': 'conv'}, "stem 'conv'; expected"),
        ({'stride': 20}, 'stride is 20'),
        ({'stem': 'ics', 'stride': 12}, "16 with the stem 'ics'"),
        ({'heads': 3}, 'width 8 is not a multiple of the 3 heads'),
        ({'image': (32, 8)}, 'images of 32x8 pixels; expected 16 or more'),
    ],
)
def test_options_that_fit_no_vit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        shapes_of('vit_small_16', **{**SMALL, **options})


@pytest.mark.parametrize(
    'module',
    [
        VisionTransformer(**SMALL, stem='ics', dtype=jnp.bfloat16),
        OmniScaleBlock(16, dtype=jnp.bfloat16),
        OmniScaleBlock(16, instance=True, dtype=jnp.bfloat16),
    ],
    ids=['vit', 'osnet', 'osnet_ain'],
)
def test_bfloat16_is_of_the_arithmetic_alone(module):
    """Parameters and statistics stay float32, and so does a backbone's map."""
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=True), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}

    def apply(v, x):
        return module.apply(v, x, train=True, mutable=['batch_stats'])[0]

    traced = jax.make_jaxpr(apply)(variables, images)
    whole = isinstance(module, VisionTransformer)
    assert traced.out_avals[0].dtype == (jnp.float32 if whole else jnp.bfloat16)
    # every matrix product
    types = re.findall(r':(\w+)\[[\d,]*\] = dot_general', str(traced))
    assert set(types) == {'bf16'}


def test_convert_leaves_the_names_of_a_vit_to_the_run(tmp_path):
    save_file(small_file(9), tmp_path / 'x.safetensors')
    with pytest.raises(WeightsError, match='depend on the size of the images; leave --backbone'):
        convert(
            str(tmp_path / 'x.safetensors'),
            str(tmp_path / 'y.safetensors'),
            backbone='vit_small_16',
        )


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'millions'), [('vit_small_16', 21.7), ('vit_base_16', 85.8)])
def test_parameters_are_timms_without_the_classifier(name, millions):
    """22.05 and 86.57 million with 1000 classes, of 384 and 768 numbers and one more each."""
    params = shapes_of(name, (224, 224))['params']
    assert round(sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6, 1) == millions
