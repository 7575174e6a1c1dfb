"""DIEN: T = 0 is the base network, masks, triplets, signs of the domain loss, rates by group,
the scan, and runs of each kind.
"""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from phases import evaluate

from jreid import methods
from jreid.configs import variants
from jreid.methods import dien, dien_network
from jreid.methods.common import domains
from jreid.methods.contract import SOURCE, TARGET, Context, Problem, State
from jreid.models import BACKBONES
from jreid.models.heads import max_pool
from jreid.models.top_down import TopDownAttention
from jreid.training import loop as train

SIZE = (32, 16)
PROBLEM = Problem(image_size=SIZE, source_identities=8, source_images=96, target_images=96)
SMALL = {
    'embedding_width': 16,
    'attention_width': 8,
    'domain_width': 4,
    'identities_per_batch': 4,
    'target_batch': 16,
}


def settings(variant='dien', **edits):
    values = {**variants.method_settings(variant), **SMALL, **edits}
    del values['name']
    return dien.Settings(**values)


@functools.cache
def build(variant='dien', **edits):
    """(settings, network, method, params, state) with random statistics.

    So no pass looks like another by chance.
    """
    s = settings(variant, **edits)
    network = dien.Network(BACKBONES['tiny_cnn'].constructor(), PROBLEM.source_identities, s)
    params, state = domains.initial(network, jax.random.key(0), SIZE)
    leaves, tree = jax.tree.flatten(state.statistics)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    statistics = jax.tree.unflatten(
        tree, [x + 0.2 * jax.random.uniform(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )
    return (
        s,
        network,
        dien.dien(BACKBONES['tiny_cnn'].constructor(), PROBLEM, s),
        params,
        State(statistics, {}),
    )


@functools.partial(jax.jit, static_argnums=0)
def glimpses(network, params, statistics, x):
    """What a network sees pass by pass in inference: compiled, since each operation by itself would
    be compiled apart.
    """
    bound = {'params': params, 'batch_stats': statistics}
    return network.apply(bound, x, method='glimpses')


inference = jax.jit(domains.inference, static_argnums=(0, 4))
forward = jax.jit(domains.forward, static_argnums=(0, 4))


def images(seed, count=8):
    return jax.random.normal(jax.random.key(seed), (count, *SIZE, 3))


def batch(count=16):
    target = {'image': images(4, count) + 0.5, 'label': jnp.full(count, -1)}
    return {
        'source': {'image': images(3, count), 'identity': jnp.repeat(jnp.arange(count // 4), 4)},
        'target': target,
    }


def by_hand(params, statistics, maps):
    """The embedding as the paper words it: both poolings, fully connected layer, batch norm,
    PReLU.
    """
    pooled = jnp.concatenate([maps.mean((1, 2)), max_pool(maps)], -1)
    p, s = params['embedding'], statistics['bn']
    x = (pooled @ p['fc']['kernel'] - s['mean']) / jnp.sqrt(s['var'] + 1e-5) * p['bn']['scale'] + p[
        'bn'
    ]['bias']
    return jnp.where(x >= 0, x, p['prelu']['negative_slope'] * x)


@pytest.mark.parametrize('stage', [pytest.param(3, marks=pytest.mark.slow), 4])
def test_no_passes_is_the_base_network_exactly(stage):
    _, base, _, params, both = build('dien-base')
    x, state = images(2), both.statistics[TARGET]
    expected = inference(base, params, both, x, TARGET)
    np.testing.assert_allclose(
        expected['die'],
        by_hand(
            params,
            state['embedding'],
            base.backbone.apply(
                {'params': params['backbone'], 'batch_stats': state['backbone']}, x
            ),
        ),
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
    _, network, _, params, model_state = build(passes=4)
    np.testing.assert_allclose(params['fusion'], np.full(5, 1 / 5))
    passes = glimpses(network, params, model_state.statistics[SOURCE], images(2))[0]
    assert passes.shape == (5, 8, 16)
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
    mask = dien_network.mask_of(spatial, channel)
    assert mask.shape == (3, *maps.shape)
    assert 0 < mask.min() < mask.max() < 1
    # An outer product: a position's weight does not depend on the channel.
    np.testing.assert_allclose(
        mask[1, 2, 3, 1, 5], spatial[1, 2, 3, 1] * channel[1, 2, 5], rtol=1e-6
    )
    shown = method.maps(params, model_state, 3 * images(2), TARGET)
    assert list(shown) == ['T = 0', 'T = 1', 'T = 2', 'T = 3']
    assert shown['T = 0'].mask is None
    np.testing.assert_allclose(shown['T = 2'].map, maps * mask[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        shown['T = 2'].mask,
        spatial[1] * channel[1].mean(-1)[:, None, None],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize('size', [(1, 1), (5, 3), (9, 2)])
def test_weights_fit_maps_of_any_size(size):
    attention = TopDownAttention(8)
    spatial, channel = attention.init_with_output(
        jax.random.key(0), jax.random.normal(jax.random.key(1), (2, 16)), (*size, 12)
    )[0]
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
    for number, shown in enumerate(method.maps(params, model_state, images(2), TARGET).values()):
        np.testing.assert_allclose(shown.head(shown.map), found[number], rtol=1e-4, atol=1e-5)


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


def hand_case(target, **edits):
    """Four source images of two identities on the unit circle and one target image; the losses'
    parts.
    """

    def at(*degrees):
        return jnp.stack(
            [jnp.asarray([np.cos(np.deg2rad(d)), np.sin(np.deg2rad(d))]) for d in degrees]
        )

    source = {
        'die': at(0, 20, 90, 100),
        'logits': jnp.zeros((4, 8)),
        'domain': jnp.asarray([-1.0, -2.0, 0.5, 0.0]),
    }
    new = {'die': at(target), 'logits': jnp.zeros((1, 8)), 'domain': jnp.asarray([1.5])}
    outputs = {'source': source, 'target': new}
    batch = {'source': {'identity': jnp.asarray([0, 0, 1, 1])}}
    terms = dien.weighted_terms(settings(**edits))
    context = Context(jax.random.key(0), jnp.float32(0))
    return {name: term(outputs, batch, State({}, {}), context) for name, term in terms.items()}


def chord(degrees):
    return 2 * np.sin(np.deg2rad(degrees) / 2)


def test_negatives_come_from_the_target_and_positives_never():
    """A target image at 30 degrees is the closest negative of the anchors 0, 20 and 90, of 100
    too; one at 250 is of none, and nobody's far positive.
    """
    near = np.mean(
        [max(0, chord(p) - chord(n) + 0.3) for p, n in ((20, 30), (20, 10), (10, 60), (10, 70))]
    )
    far = np.mean(
        [max(0, chord(p) - chord(n) + 0.3) for p, n in ((20, 90), (20, 70), (10, 70), (10, 80))]
    )
    for angle, expected in ((30, near), (250, far)):
        np.testing.assert_allclose(
            hand_case(angle, weight_centre=0.0)['triplet'], expected, rtol=1e-5
        )
    assert near > far
    # Zhong et al.'s triplets: the target image is an anchor too, its own positive at distance 0.
    anchors = [
        max(0, chord(p) - chord(n) + 0.3) for p, n in ((20, 30), (20, 10), (10, 60), (10, 70))
    ]
    np.testing.assert_allclose(
        hand_case(30, triplet='hhl')['triplet'],
        np.mean([*anchors, max(0, 0.3 - chord(10))]),
        rtol=1e-5,
    )


def test_weights_of_the_losses():
    one, two = hand_case(250), hand_case(250, weight_triplet=2.0, weight_domain=0.3)
    np.testing.assert_allclose(one['identity'], np.log(8), rtol=1e-6)
    np.testing.assert_allclose(two['triplet'], 2 * one['triplet'], rtol=1e-6)
    sigmoid = 1 / (1 + np.exp(-np.asarray([-1.0, -2.0, 0.5, 0.0, 1.5])))
    entropy = -np.mean(np.log([*(1 - sigmoid[:4]), sigmoid[4]]))
    np.testing.assert_allclose(
        [one['domain'], two['domain']], [0.1 * entropy, 0.3 * entropy], rtol=1e-5
    )
    centre = np.linalg.norm(
        np.mean([[np.cos(a), np.sin(a)] for a in np.deg2rad([0, 20, 90, 100])], 0)
        - [np.cos(np.deg2rad(250)), np.sin(np.deg2rad(250))]
    )
    np.testing.assert_allclose(
        one['triplet'] - hand_case(250, weight_centre=0.0)['triplet'], centre, rtol=1e-5
    )


@pytest.mark.slow
def test_domain_loss_drives_backbone_up_and_classifier_down(monkeypatch):
    """By hand: with a linear classifier w and one feature f an image, L = log(1 + e^-wf); dL/dw
    = -f sigma(-wf), and the gradient on f is reversed.
    """
    _, network, method, params, model_state = build('dien-base-dc', domain_width=0, dropout=0.0)

    def reversed_gradient(f, w):
        classifier = {'params': {'logit': {'kernel': w[None, None], 'bias': jnp.zeros(1)}}}
        logit = dien_network.DomainClassifier(0).apply(
            classifier, dien_network.gradient_reversal(jnp.reshape(f, (1, 1)))
        )
        return jax.nn.softplus(-logit[0])

    f, w = jnp.float32(2.0), jnp.float32(0.5)
    to_f, to_w = jax.grad(reversed_gradient, argnums=(0, 1))(f, w)
    np.testing.assert_allclose([to_f, to_w], [0.5 / (1 + np.e), -2 / (1 + np.e)], rtol=1e-5)

    def gradients(phase):
        return evaluate(phase, params, model_state, batch()).gradients

    @jax.jit
    def domain_loss(params):
        out, new, _ = domains.forward_jointly(
            network, params, model_state, batch()['source']['image'], batch()['target']['image']
        )
        term = method.phases[0].terms['domain']
        return term({'source': out, 'target': new}, batch(), model_state, None)

    whole = gradients(method.phases[0])
    without = gradients(
        build('dien-base-dc', domain_width=0, dropout=0.0, weight_domain=0.0)[2].phases[0]
    )
    of_domain = jax.tree.map(lambda a, b: a - b, whole, without)
    monkeypatch.setattr(dien_network, 'gradient_reversal', lambda x, scale: x)
    plain = jax.jit(jax.grad(domain_loss))(params)
    for name, sign in (('backbone', -1), ('embedding', -1), ('domain_classifier', 1)):
        for a, b in zip(
            jax.tree.leaves(of_domain[name]), jax.tree.leaves(plain[name]), strict=True
        ):
            np.testing.assert_allclose(
                a, sign * b, rtol=1e-2, atol=2e-3 * float(jnp.abs(b).max()) + 1e-6
            )
    # A descent step along the objective's gradient: the classifier's part lowers the domain loss,
    # the backbone's part raises it.
    before = domain_loss(params)
    for name, sign in (('backbone', 1), ('domain_classifier', -1)):
        step = jax.tree.map(lambda p, g: p - 0.05 * g, params[name], of_domain[name])
        assert sign * (domain_loss({**params, name: step}) - before) > 0


def test_each_group_moves_at_its_own_rate():
    s, _, method, params, model_state = build(weight_decay=0.0, clip=0.0)
    optimizer = method.phases[0].optimizer(100)
    gradients = jax.tree.map(jnp.ones_like, params)
    updates, state = optimizer.update(gradients, optimizer.init(params), params)
    rates = {
        'backbone': 1e-4,
        'attention': 1e-2,
        'fusion': 1e-2,
        'embedding': 1e-1,
        'identity_classifier': 1e-1,
        'domain_classifier': 1e-1,
    }
    assert set(rates) == set(params)
    assert (s.learning_rate_backbone, s.learning_rate_attention, s.learning_rate_heads) == (
        1e-4,
        1e-2,
        1e-1,
    )
    again, _ = optimizer.update(gradients, state, params)
    for name, rate in rates.items():
        for first, second in zip(
            jax.tree.leaves(updates[name]), jax.tree.leaves(again[name]), strict=True
        ):
            np.testing.assert_allclose(first, -rate, rtol=1e-5)
            np.testing.assert_allclose(second, -rate * 1.9, rtol=1e-5)  # momentum 0.9
    # After two thirds of the phase all rates fall to a tenth.
    np.testing.assert_allclose(
        [method.phases[0].optimizer.schedule_over(300)(step) for step in (199, 201)],
        [0.1, 0.01],
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ('variant', 'norm'),
    [
        ('dien-base-tl', 'joint'),
        pytest.param('dien', 'split', marks=pytest.mark.slow),
        pytest.param('dien-base-tl', 'split', marks=pytest.mark.slow),
        pytest.param('dien', 'joint', marks=pytest.mark.slow),
    ],
)
def test_labels_of_the_target_are_not_read(variant, norm):
    _, _, method, params, model_state = build(
        variant, passes=min(1, settings(variant).passes), batch_norm=norm
    )
    without = batch()
    with_labels = {**without, 'target': {**without['target'], 'label': jnp.arange(16) % 3}}
    one, two = (
        evaluate(method.phases[0], params, model_state, b, progress=0.5)
        for b in (without, with_labels)
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(np.asarray(a)).all()
    state = one.state.statistics
    same = [
        bool(jnp.array_equal(a, b))
        for a, b in zip(jax.tree.leaves(state[SOURCE]), jax.tree.leaves(state[TARGET]), strict=True)
    ]
    assert all(same) if norm == 'joint' else not any(same)


def test_dropout_is_for_the_identity_classifier_alone():
    _, _, method, params, model_state = build('dien-base-cccdtl-dc', dropout=0.9)
    keys = [jax.random.key(k) for k in (1, 2)]
    one, two = (
        evaluate(method.phases[0], params, model_state, batch(), key=key).scalars for key in keys
    )
    assert one['identity'] != two['identity']
    for name in ('triplet', 'domain', 'centre_distance', 'domain_accuracy'):
        assert one[name] == two[name]


def test_reversal_can_grow_with_the_training():
    _, _, method, params, model_state = build(
        'dien-base-dc', reversal_schedule=True, weight_domain=100.0
    )

    def gradient(progress):
        return evaluate(method.phases[0], params, model_state, batch(), progress=progress).gradients

    start, end = gradient(0.0), gradient(1.0)
    np.testing.assert_allclose(
        start['domain_classifier']['logit']['kernel'],
        end['domain_classifier']['logit']['kernel'],
        rtol=1e-3,
    )
    weights = [float(optax.tree.norm(g['backbone'])) for g in (start, end)]
    assert weights[1] > 2 * weights[0]


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


def test_identity_epochs_come_first_and_see_the_identity_loss_alone():
    _, _, method, params, model_state = build(identity_epochs=2, joint_epochs=3)
    first, joint = method.phases
    assert (first.epochs, first.report_as, list(first.streams)) == (2, 'source_only', ['source'])
    assert (joint.epochs, joint.report_as, list(joint.streams)) == (
        3,
        'adapted',
        ['source', 'target'],
    )
    # Plain rates before, the paper's fall in the joint phase only.
    assert [phase.optimizer.schedule_over(300)(299) for phase in (first, joint)] == pytest.approx(
        [0.1, 0.01]
    )
    source = {'image': images(0), 'identity': jnp.arange(8) % PROBLEM.source_identities}
    metrics = evaluate(first, params, model_state, {'source': source}).scalars
    assert {'triplet', 'domain'}.isdisjoint(metrics)
    assert metrics['identity'] > 0
    alone = build('dien-base', identity_epochs=2, joint_epochs=3)[2]
    assert [(phase.epochs, phase.report_as) for phase in alone.phases] == [(5, 'source_only')]


@pytest.mark.parametrize(
    ('edits', 'message'),
    [
        ({'triplet': 'soft'}, "method.triplet is 'soft'"),
        ({'attend_stage': 2}, 'method.attend_stage is 2'),
        ({'batch_norm': 'both'}, "method.batch_norm is 'both'"),
        ({'images_per_identity': 1}, 'K = 1'),
        ({'identities_per_batch': 9}, 'P = 9'),
        ({'passes': -1}, 'passes -1'),
    ],
)
def test_settings_that_cannot_be_are_refused(edits, message):
    with pytest.raises(ValueError, match=message):
        dien.dien(BACKBONES['tiny_cnn'].constructor(), PROBLEM, settings(**edits))


KINDS = {
    'dien-base': {},
    'dien-base-tl': {},
    'dien-base-cccdtl': {},
    'dien-base-dc': {'batch_norm': 'split'},
    'dien-t2': {'attend_stage': 3},
    'dien': {},
}


@pytest.mark.parametrize(
    'variant',
    [pytest.param(name, marks=() if name == 'dien' else pytest.mark.slow) for name in KINDS],
)
def test_run_of_each_kind(variant, tiny_config, tmp_path):
    config = tiny_config(
        variant,
        joint_epochs=4,
        **{**SMALL, 'target_batch': 12},
        learning_rate_backbone=0.02,
        learning_rate_heads=0.02,
        **KINDS[variant],
    )
    summary = train.train(config, tmp_path)
    row = summary['source_only' if variant == 'dien-base' else 'adapted']
    assert 0 < row['mAP'] <= 100
    records = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    trained = [record for record in records if record['kind'] == 'train']
    terms = (
        {'identity'}
        | ({'triplet'} if config.method.triplet != 'none' else set())
        | ({'domain'} if config.method.domain_classifier else set())
    )
    assert terms == {'identity', 'triplet', 'domain'} & set(trained[0])
    assert trained[-1]['identity'] < trained[0]['identity']
    np.testing.assert_allclose(trained[-1]['learning_rate'], 0.002, rtol=1e-5)


@pytest.mark.slow
def test_a_large_gradient_is_clipped_and_the_groups_keep_their_ratios():
    s, _, method, params, _ = build(weight_decay=0.0)
    assert s.clip == 10
    optimizer = method.phases[0].optimizer(100)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    for size, expected in (
        (1.0, 10 / np.sqrt(count)),
        (1e-3 / np.sqrt(count), 1e-3 / np.sqrt(count)),
    ):
        updates, _ = optimizer.update(
            jax.tree.map(lambda p, size=size: jnp.full_like(p, size), params),
            optimizer.init(params),
            params,
        )
        for name, rate in (('backbone', 1e-4), ('attention', 1e-2), ('embedding', 1e-1)):
            np.testing.assert_allclose(
                jax.tree.leaves(updates[name])[0], -rate * expected, rtol=1e-5
            )
