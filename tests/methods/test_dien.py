"""DIEN's network: T = 0 is the base network, masks, the scan, statistics by pass; its settings."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dien_case import (
    PROBLEM,
    build,
    by_hand,
    forward,
    glimpses,
    images,
    inference,
    settings,
)

from jreid import methods
from jreid.configs import variants
from jreid.methods import dien, dien_network
from jreid.methods.contract import SOURCE, TARGET
from jreid.models import BACKBONES
from jreid.models.top_down import TopDownAttention


@pytest.mark.parametrize('stage', [pytest.param(3, marks=pytest.mark.slow), 4])
def test_no_passes_is_the_base_network_exactly(stage):
    _, base, _, params, both = build('dien-base')
    x, state = images(2), both.statistics[TARGET]
    expected = inference(base, params, both, x, TARGET)
    np.testing.assert_allclose(
        expected['die'],
        jax.jit(
            lambda x: by_hand(
                params,
                state['embedding'],
                base.backbone.apply(
                    {'params': params['backbone'], 'batch_stats': state['backbone']}, x
                ),
            )
        )(x),
        rtol=1e-4,
        atol=1e-5,
    )
    # Other settings at T = 0: the same parameters, and the same numbers to the last bit, in
    # inference and in training.
    _, other, _, fresh, _ = build('dien', passes=0, attend_stage=stage, domain_classifier=False)
    assert jax.tree.structure(fresh) == jax.tree.structure(params)
    found = inference(other, params, both, x, TARGET)
    trained = [forward(network, params, both, x, SOURCE) for network in (base, other)]
    for one, two in ((expected, found), *[tuple(trained)]):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
            np.testing.assert_array_equal(a, b)


def test_first_pass_of_three_is_the_base_network():
    _, network, _, params, both = build()
    shared = {
        name: value
        for name, value in params.items()
        if name not in ('attention', 'fusion', 'domain_classifier')
    }
    statistics = both.statistics[TARGET]
    state = {name: value for name, value in statistics.items() if name != 'passes'}
    _, base, _, _, _ = build('dien-base')
    first = glimpses(network, params, statistics, images(2))[0][0]
    np.testing.assert_array_equal(first, glimpses(base, shared, state, images(2))[0][0])


def test_fusion_starts_as_the_mean_of_the_passes():
    _, network, _, params, model_state = build()
    np.testing.assert_allclose(params['fusion'], np.full(4, 1 / 4))
    passes = glimpses(network, params, model_state.statistics[SOURCE], images(2))[0]
    assert passes.shape == (4, 8, 16)
    np.testing.assert_allclose(
        inference(network, params, model_state, images(2), SOURCE)['die'],
        passes.mean(0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize('stage', [pytest.param(3, marks=pytest.mark.slow), 4])
def test_masks_are_in_the_open_interval_and_have_the_maps_shape(stage):
    _, network, method, params, model_state = build(attend_stage=stage)
    _, maps, spatial, channel = glimpses(
        network, params, model_state.statistics[TARGET], 3 * images(2)
    )
    assert maps.shape == (8, 8, 4, 16 if stage == 3 else 32)
    mask = np.asarray(dien_network.mask_of(spatial, channel))
    maps, spatial, channel = (np.asarray(x) for x in (maps, spatial, channel))
    assert mask.shape == (3, *maps.shape)
    assert 0 < mask.min() < mask.max() < 1
    # An outer product: a position's weight does not depend on the channel.
    np.testing.assert_allclose(
        mask[1, 2, 3, 1, 5], spatial[1, 2, 3, 1] * channel[1, 2, 5], rtol=1e-6
    )
    shown = jax.jit(
        lambda x: {
            name: (one.map, one.mask)
            for name, one in method.maps(params, model_state, x, TARGET).items()
        }
    )(3 * images(2))
    assert list(shown) == ['T = 0', 'T = 1', 'T = 2', 'T = 3']
    assert shown['T = 0'][1] is None
    np.testing.assert_allclose(shown['T = 2'][0], maps * mask[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        shown['T = 2'][1],
        spatial[1] * channel[1].mean(-1)[:, None, None],
        rtol=1e-5,
        atol=1e-6,
    )


def test_weights_fit_maps_of_any_size():
    attention, sizes = TopDownAttention(8), [(1, 1), (5, 3), (9, 2)]
    feature = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)

    @jax.jit  # all sizes in one program
    def weights(x):
        key = jax.random.key(0)
        return [attention.init_with_output(key, x, (*size, 12))[0] for size in sizes]

    for size, (spatial, channel) in zip(sizes, weights(feature), strict=True):
        assert (spatial.shape, channel.shape) == ((2, *size), (2, 12))
        assert 0 < min(spatial.min(), channel.min()) <= max(spatial.max(), channel.max()) < 1


def unrolled(network, params, statistics, x, *, stage, accumulate):
    """The passes in inference as a Python loop over plain calls of the parts."""
    backbone = {'params': params['backbone'], 'batch_stats': statistics['backbone']}
    maps = (
        network.backbone.apply(backbone, x, method='stem_to_stage3')
        if stage == 3
        else network.backbone.apply(backbone, x)
    )
    attention = TopDownAttention(network.settings.attention_width)
    die = by_hand(params, statistics['embedding'], network.backbone.apply(backbone, x))
    features, current = [die], maps
    for number in range(network.settings.passes):
        own = jax.tree.map(lambda leaf, number=number: leaf[number], statistics['passes'])
        spatial, channel = attention.apply({'params': params['attention']}, die, maps.shape[1:])
        masked = current * spatial[:, :, :, None] * channel[:, None, None, :]
        current = masked if accumulate else current
        if stage == 3:
            masked = network.backbone.apply(
                {
                    'params': params['backbone'],
                    'batch_stats': {**statistics['backbone'], **own['backbone']},
                },
                masked,
                method='stage4',
            )
        die = by_hand(params, own['embedding'], masked)
        features.append(die)
    return jnp.stack(features)


@pytest.mark.parametrize(
    ('stage', 'accumulate'),
    [
        pytest.param(4, False, marks=pytest.mark.slow),
        (4, True),
        pytest.param(3, False, marks=pytest.mark.slow),
    ],
)
def test_scan_is_the_unrolled_loop(stage, accumulate):
    _, network, method, params, model_state = build(attend_stage=stage, accumulate_masks=accumulate)
    statistics = model_state.statistics[TARGET]
    found = glimpses(network, params, statistics, images(2))[0]
    loop = jax.jit(functools.partial(unrolled, network, stage=stage, accumulate=accumulate))
    expected = loop(params, statistics, images(2))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(found[1] - found[3]).max()) > 1e-3, (
        'the passes are all the same: nothing was tested'
    )
    # What the figures show is what the network computes.
    heads = jax.jit(
        lambda x: [
            shown.head(shown.map) for shown in method.maps(params, model_state, x, TARGET).values()
        ]
    )(images(2))
    for number, feature in enumerate(heads):
        np.testing.assert_allclose(feature, found[number], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_gradient_of_the_scan_is_that_of_the_unrolled_loop():
    _, network, _, params, model_state = build(passes=2)

    def total(params, passes):
        return jnp.sum(jnp.sin(passes(params)))

    statistics = model_state.statistics[TARGET]
    gradient = jax.jit(jax.grad(total), static_argnums=1)
    scanned = gradient(params, lambda p: glimpses(network, p, statistics, images(2))[0])
    looped = gradient(
        params,
        lambda p: unrolled(network, p, statistics, images(2), stage=4, accumulate=False),
    )
    for a, b in zip(jax.tree.leaves(scanned), jax.tree.leaves(looped), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * float(jnp.abs(b).max()) + 1e-6)
    assert float(jnp.abs(scanned['attention']['spatial1']['kernel']).max()) > 0


def test_each_pass_moves_its_own_statistics():
    _, network, _, params, model_state = build(passes=2, attend_stage=3)
    _, moved = forward(network, params, model_state, images(2), SOURCE)
    change = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max(axis=-1),
        model_state.statistics[SOURCE]['passes'],
        moved.statistics[SOURCE]['passes'],
    )
    for leaf in jax.tree.leaves(change):
        assert leaf.shape == (2,)
        assert (leaf > 0).all()
        assert float(leaf[0]) != float(leaf[1])


def test_every_row_of_table_1_is_a_variant():
    rows = {
        variants.paper_row(name): variants.method_settings(name)
        for name in variants.VARIANTS
        if name.split('-')[0] == 'dien'
    }
    parts = {row: (s.triplet, s.domain_classifier, s.passes) for row, s in rows.items()}
    expected = {
        'Base': ('none', False, 0),
        'Base+TL': ('hhl', False, 0),
        'Base+CCCDTL': ('cccdtl', False, 0),
        'Base+DC': ('none', True, 0),
    }
    expected |= {'Base+CCCDTL+DC': ('cccdtl', True, 0)} | {
        f'Base+CCCDTL+DC+RTDA (T={t})': ('cccdtl', True, t) for t in range(1, 6)
    }
    assert parts == expected
    assert variants.method_settings('dien') == variants.method_settings('dien-t3')
    one = rows['Base']
    assert (one.margin, one.weight_triplet, one.weight_centre, one.weight_domain) == (
        0.3,
        1.0,
        1.0,
        0.1,
    )


@pytest.mark.parametrize('pair', ['duke2market', 'market2duke', 'ward2pku', 'pku2ward', 'demo'])
def test_every_pair_takes_every_variant(pair):
    import importlib

    module = importlib.import_module(f'configs.{pair}')
    for name in (
        'dien',
        'dien-base',
        'dien-base-tl',
        'dien-base-cccdtl',
        'dien-base-dc',
        'dien-base-cccdtl-dc',
        *(f'dien-t{t}' for t in range(1, 6)),
    ):
        config = module.get_config(name)
        assert config.variant == name
        assert {field.name for field in dataclasses.fields(dien.Settings)} == set(config.method) - {
            'name'
        }
        problem = dataclasses.replace(
            PROBLEM, image_size=(config.data.height, config.data.width), source_identities=1000
        )
        method = methods.build(config.method, BACKBONES['tiny_cnn'].constructor(), problem)
        assert method.name == 'dien'
        assert list(method.phases[-1].streams) == (
            ['source'] if name == 'dien-base' else ['source', 'target']
        )
        # Every row of a pair's table sees as many steps.
        assert (
            sum(phase.epochs for phase in method.phases)
            == config.method.identity_epochs + config.method.joint_epochs
        )


@pytest.mark.parametrize(
    ('edits', 'message'),
    [
        ({'triplet': 'soft'}, "method.triplet is 'soft'"),
        ({'attend_stage': 2}, 'method.attend_stage is 2'),
        ({'batch_norm': 'both'}, "method.batch_norm is 'both'"),
        ({'images_per_identity': 1}, 'K = 1'),
        ({'identities_per_batch': 9}, 'P = 9'),
        ({'passes': -1}, '^method.passes is -1; expected 0 or more$'),
        (
            {'learning_rate_heads': 0.0},
            '^method.learning_rate_heads is 0.0; expected a number above 0$',
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(edits, message):
    with pytest.raises(ValueError, match=message):
        dien.dien(BACKBONES['tiny_cnn'].constructor(), PROBLEM, settings(**edits))
