"""How DIEN learns: triplets, signs of the domain loss, rates by group, and runs of each kind."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dien_case import PROBLEM, SMALL, batch, build, images, settings
from phases import evaluate

from jreid.engine.accumulation import value_and_gradient
from jreid.methods import dien, dien_network
from jreid.methods.common import domains
from jreid.methods.contract import SOURCE, TARGET, Context, State
from jreid.training import loop as train


def hand_case(target, **edits):
    """Four source images of two identities on the unit circle and one target image; the losses'
    parts.
    """

    def at(*degrees):
        angles = np.deg2rad(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    source = {
        'die': at(0, 20, 90, 100),
        'logits': np.zeros((4, 8), np.float32),
        'domain': np.float32([-1.0, -2.0, 0.5, 0.0]),
    }
    new = {
        'die': at(target),
        'logits': np.zeros((1, 8), np.float32),
        'domain': np.float32([1.5]),
    }
    outputs = {'source': source, 'target': new}
    batch = {'source': {'identity': np.array([0, 0, 1, 1], np.int32)}}
    terms = dien.weighted_terms(settings(**edits))
    context = Context(jax.random.key(0), np.float32(0))
    return jax.jit(
        lambda outputs: {
            name: term(outputs, batch, State({}, {}), context) for name, term in terms.items()
        }
    )(outputs)


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
    """By hand: with a linear classifier w and one feature f per image, L = log(1 + e^-wf); dL/dw
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
    gradients, update = jax.tree.map(np.ones_like, params), jax.jit(optimizer.update)
    updates, state = update(gradients, jax.jit(optimizer.init)(params), params)
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
    again, _ = update(gradients, state, params)
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
        ('dien', 'split'),
        ('dien-base-tl', 'split'),
    ],
)
@pytest.mark.slow
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
    (phase,) = method.phases
    keys = [jax.random.key(k) for k in (1, 2)]
    one, two = (
        evaluate(phase, params, model_state, batch(), key=key, gradients=False).scalars
        for key in keys
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
    metrics = jax.eval_shape(
        lambda *given: value_and_gradient(first.forward, first.terms, first.metrics, *given),
        params,
        model_state,
        {'source': source},
        Context(jax.random.key(0), np.float32(0)),
    ).scalars
    assert {'triplet', 'domain'}.isdisjoint(metrics)
    assert 'identity' in metrics
    alone = build('dien-base', identity_epochs=2, joint_epochs=3)[2]
    assert [(phase.epochs, phase.report_as) for phase in alone.phases] == [(5, 'source_only')]


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
