"""Grad-CAM by hand, and `jreid visualize` on runs with and without attention of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jreid import methods
from jreid.commands import cli, visualize
from jreid.configs import variants
from jreid.losses.distances import unit
from jreid.methods.common.maps import spatial_maps
from jreid.methods.contract import TARGET, Method, Problem, State
from jreid.models import BACKBONES
from jreid.run.loading import load_model


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB'))


# One compilation instead of one per operation.
grad_cam = jax.jit(visualize.grad_cam, static_argnums=1)


def test_grad_cam_by_hand():
    """The feature is the pooled map, so channel k has the weight (f_k - f0_k) / (h w)."""
    maps = np.zeros((2, 2, 1, 2), np.float32)
    maps[0, :, 0, 0], maps[0, :, 0, 1] = [4.0, 0.0], [1.0, 3.0]
    maps[1, :, 0, :] = [[0.0, 6.0], [0.0, 6.0]]
    heat = grad_cam(jnp.asarray(maps), lambda x: x.mean((1, 2)))
    weights = (maps[0].mean((0, 1)) - maps[1].mean((0, 1))) / 2  # (2 - 0, 2 - 6) / 2
    expected = np.maximum(maps[0] @ weights, 0)
    assert expected.tolist() == [[2.0], [0.0]]
    np.testing.assert_allclose(heat[0], expected / 2)
    np.testing.assert_array_equal(heat[1], np.zeros((2, 1)))


def test_features_of_unit_length_have_heat():
    maps = jax.random.uniform(jax.random.key(0), (3, 4, 2, 8))

    def head(x):
        pooled = x.mean((1, 2))
        return pooled / jnp.linalg.norm(pooled, axis=-1, keepdims=True)

    heat = grad_cam(maps, head)
    assert heat.shape == (3, 4, 2)
    assert heat[:2].max() == 1


def test_method_without_a_map_is_refused():
    method = Method(
        'plain',
        (),
        init=lambda key: ({}, State({}, {})),
        embed=lambda params, state, images, domain: images.mean((1, 2)),
    )
    with pytest.raises(ValueError, match="'plain' has no spatial map"):
        spatial_maps(method, {}, State({}, {}), jnp.zeros((2, 8, 4, 3)), 'target')


PROBLEM = Problem(
    (32, 16),
    8,
    96,
    96,
    attribute_names=('hat', 'bag'),
    target_attribute_names=('hat', 'bag'),
    mask_domains=('source', 'target'),
)


def method_of(variant):
    settings = variants.method_settings(variant)
    if 'identities_per_batch' in settings:
        settings.identities_per_batch = 4
    return methods.build(settings, BACKBONES['tiny_cnn'].constructor(), PROBLEM)


@pytest.mark.parametrize('variant', ['tjaidl', 'ptl', 'ssg'])
def test_every_system_has_a_map_whose_head_gives_a_feature(variant):
    method = method_of(variant)

    def features(key):
        params, state = method.init(key)
        images = jnp.zeros((2, 32, 16, 3))
        shown = spatial_maps(method, params, state, images, TARGET)
        maps = [one.map for one in shown.values()]
        heads = [one.head(one.map) for one in shown.values()]
        return maps, heads, method.embed(params, state, images, TARGET)

    maps, heads, feature = jax.eval_shape(features, jax.random.key(0))
    assert maps
    assert {found.shape[:3] for found in maps} == {(2, 8, 4)}
    assert {found.shape for found in heads} == {feature.shape}


@pytest.mark.parametrize(
    'variant',
    ['dmtnet', *(pytest.param(n, marks=pytest.mark.slow) for n in ('tjaidl', 'ptl', 'ssg'))],
)
def test_every_system_has_a_map_that_its_feature_follows_from(variant):
    """The map's head gives the retrieval feature up to its length, and reads the whole map.

    MTDnet's and DIEN's maps are in their own tests.
    """
    method = method_of(variant)

    @jax.jit  # one compilation instead of one per operation
    def feature_and_maps(key):
        params, state = method.init(key)
        images = jax.random.normal(jax.random.key(1), (2, 32, 16, 3))
        shown = spatial_maps(method, params, state, images, TARGET)
        changed = {
            name: one.map * jax.random.uniform(jax.random.key(2), one.map.shape)
            for name, one in shown.items()
        }
        return method.embed(params, state, images, TARGET), {
            name: (
                one.head(one.map),
                one.head(changed[name]),
                visualize.grad_cam(one.map, one.head),
            )
            for name, one in shown.items()
        }

    expected, shown = feature_and_maps(jax.random.key(0))
    assert shown
    for feature, other, heat in shown.values():
        assert feature.shape == expected.shape
        np.testing.assert_allclose(jnp.sum(unit(feature) * unit(expected), axis=-1), 1, rtol=1e-5)
        assert float(jnp.sum(unit(feature) * unit(other), axis=-1).max()) < 0.9999
        assert heat.shape == (2, 8, 4)
        assert 0 <= float(heat.min()) <= float(heat.max()) <= 1


@pytest.mark.parametrize(
    ('variant', 'maps'),
    [
        pytest.param('dien-t2', ['T = 0', 'T = 1', 'T = 2'], marks=pytest.mark.slow),
        ('source-only', ['backbone']),
    ],
)
def test_command_draws_what_the_run_looks_at(
    variant, maps, people, finished_run, source_only_run, tmp_path, capsys
):
    # Masks do not need a trained network.
    small = {'joint_epochs': 0, 'embedding_width': 16, 'attention_width': 8, 'target_batch': 12}
    run = finished_run(variant, **small) if variant == 'dien-t2' else source_only_run
    capsys.readouterr()
    files = sorted(str(path) for path in (people / 'two' / 'query').glob('*.jpg'))[:3]
    words = ['visualize', str(run), '--images', *files, '--out', str(tmp_path / 'out')]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out.split()
    expected = (
        ['grad_cam_000.png', 'masks_000.png'] if variant == 'dien-t2' else ['grad_cam_000.png']
    )
    assert [line.rsplit('/', 1)[1] for line in printed] == expected
    assert pixels_of(printed[0]).shape[0] > 3 * 192
    model = load_model(run)
    pixels = np.stack([pixels_of(file) for file in files])
    step = visualize.heat_step(model.method, model.system.preparation, model.domain)
    heats, masks = step(model.params, model.state, pixels)
    assert list(heats) == maps
    assert sorted(masks) == maps[1:]
    for heat in heats.values():
        assert heat.shape == (3, 8, 4)
        assert 0 <= float(heat.min()) <= float(heat.max()) <= 1
    assert any(float(heat.max()) == 1 for heat in heats.values())
    with pytest.raises(ValueError, match='found 0 images'):
        visualize.visualize(run, [], tmp_path)
