"""MTDnet: its network, losses, the coupled form, and who may read the target's labels."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mtdnet_case import images_of, method_of

from jreid import methods
from jreid.configs import demo, pku2ward, variants
from jreid.data.datasets import LOADERS
from jreid.methods import mtdnet, mtdnet_terms
from jreid.methods.contract import Context, Problem
from jreid.methods.mtdnet_network import SharedConv
from jreid.models import backbones
from jreid.training import loop as train

# -- network ------------------------------------------------------------------------------------


def test_shares_of_conv3_sum_to_the_convolution_of_the_joined_maps():
    torch = pytest.importorskip('torch')
    first, second = (
        np.random.default_rng(i).normal(size=(2, 5, 4, 6)).astype(np.float32) for i in range(2)
    )
    layer = SharedConv(8, 'caffe')
    params = layer.init(jax.random.key(0), first, 'query')
    params = jax.tree.map(lambda x: x + 0.3, params)
    found = layer.apply(params, first, 'query') + layer.apply(params, second, 'gallery')
    joined = torch.tensor(np.concatenate([first, second], axis=-1)).permute(0, 3, 1, 2)
    kernel, bias = (torch.tensor(np.array(params['params'][name])) for name in ('kernel', 'bias'))
    expected = torch.nn.functional.conv2d(
        joined, kernel.permute(3, 2, 0, 1), bias, padding=1
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_alexnet_of_the_paper_has_its_sizes():
    """The shared maps are 256 x 13 x 13, conv3 has 512-channel kernels, the ranking layer 512
    outputs; nothing is computed.
    """
    settings = variants.method_settings('mtdnet')
    module, _ = backbones.build('alexnet', {})
    method = methods.build(
        settings, module, Problem((224, 224), 1160, 10000, 600, target_labelled=True)
    )
    params, state = jax.eval_shape(method.init, jax.random.key(0))
    shapes = {name: params[name]['kernel'].shape for name in ('conv3', 'fc8', 'ranking')}
    assert shapes == {'conv3': (3, 3, 512, 384), 'fc8': (4096, 2), 'ranking': (13 * 13 * 256, 512)}
    assert params['trunk']['conv4']['kernel'].shape == (3, 3, 192, 384)
    assert params['trunk']['conv5']['kernel'].shape == (3, 3, 192, 256)
    assert params['dense']['fc6']['kernel'].shape == (6 * 6 * 256, 4096)
    assert set(params['backbone']) == {'stem'}
    assert not jax.tree.leaves(state)
    rank = methods.build(
        variants.method_settings('mtdnet-rnk'),
        module,
        Problem((224, 224), 1160, 10000, 600, target_labelled=True),
    )
    params, _ = jax.eval_shape(rank.init, jax.random.key(0))
    assert params['trunk']['conv3']['kernel'].shape == (3, 3, 256, 384)
    assert params['fc8']['kernel'].shape == (4096, 512)


def test_pairs_of_a_batch_are_the_first_image_of_a_group_with_each_other():
    """The logits of a training pass equal scores of single pairs, in the order (A1, A2), (A1,
    B2), ...
    """
    method = method_of(
        size=(64, 32),
        name='alexnet',
        options={'widths': (8, 8, 8, 8, 8), 'first_stride': 2, 'initial': 'he'},
    )
    params, state = jax.jit(method.init)(jax.random.key(0))
    images = images_of(10, (64, 32))
    network = mtdnet.Network(
        backbones.build('alexnet', {'widths': (8, 8, 8, 8, 8), 'first_stride': 2})[0],
        'multi',
        (16, 16, 8),
        24,
        12,
        0.0,
        'he',
    )

    @jax.jit
    def computed(params, state, images):
        out = network.apply({'params': params}, images, train=True, group=5)
        sides = [
            method.pair_input(params, state, images, 'target', side)
            for side in ('query', 'gallery')
        ]
        return out, method.score(params, state, *sides)

    out, scores = computed(params, state, images)
    assert out['responses'].shape == (8, 24)
    scores = np.asarray(scores)
    odds = np.asarray(out['logits'][:, 1] - out['logits'][:, 0]).reshape(2, 4)
    np.testing.assert_allclose(odds, [scores[0, 1:5], scores[5, 6:10]], rtol=1e-4, atol=1e-5)
    # the first image is the query: the other way round is another pair
    assert np.abs(scores - scores.T).max() > 1e-4


# -- losses -------------------------------------------------------------------------------------


def test_counted_pairs_balance_positives_and_negatives():
    rows, same = mtdnet_terms.counted_pairs(2, 3)
    assert rows.tolist() == [0, 0, 0, 1, 2, 3, 4, 4, 4, 5, 6, 7]
    assert same.tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_losses_by_hand(reduction):
    """Equations 1 and 2 written out with numpy over the triplets of two groups."""
    rng = np.random.default_rng(3)
    out = {
        'feature': rng.normal(size=(10, 6)).astype(np.float32),
        'logits': rng.normal(size=(8, 2)).astype(np.float32),
    }
    values = {
        name: getattr(variants.method_settings('mtdnet'), name)
        for name in mtdnet.Settings.__dataclass_fields__
    }
    values |= {
        'triplets_per_pair': 3,
        'triplet_reduction': reduction,
        'weight_triplet': 2.0,
        'weight_classification': 3.0,
    }
    settings = mtdnet.Settings(**values)
    terms = mtdnet_terms.task_terms(settings, 'target')
    metrics = mtdnet_terms.task_metrics(settings, 'target')

    @jax.jit
    def losses_of(out):
        return {name: term({'target': out}, {}, None, None) for name, term in terms.items()}

    losses = losses_of(out)
    unit = out['feature'] / np.linalg.norm(out['feature'], axis=1, keepdims=True)
    triplets, pairs = [], []
    for group in (0, 1):
        a, p, *negatives = unit[5 * group : 5 * group + 5]
        logit = out['logits'][4 * group : 4 * group + 4]
        prob = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
        for i, n in enumerate(negatives):
            triplets.append(max(0, 1 + np.sum((a - p) ** 2) - np.sum((a - n) ** 2)))
            pairs += [-np.log(prob[0, 1]), -np.log(prob[1 + i, 0])]
    assert float(losses['triplet']) == pytest.approx(
        2 * (np.sum if reduction == 'sum' else np.mean)(triplets), rel=1e-5
    )
    assert float(losses['pairs']) == pytest.approx(3 * np.mean(pairs), rel=1e-5)
    in_order = jax.jit(lambda x: metrics['triplets_in_order']({'target': x}, {}, None, None))(out)
    assert 0 < float(in_order) < 1
    total = jax.jit(jax.grad(lambda x: sum(losses_of({**out, 'feature': x}).values())))
    gradients = total(np.zeros((10, 6), np.float32))
    assert np.isfinite(gradients).all()


def test_triplet_term_is_half_the_mean_beside_the_other_means_by_default():
    """The authors' layer divides by twice the number of triplets."""
    features = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
    term = mtdnet_terms.task_terms(mtdnet.Settings(), 'target')['triplet']
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    losses = [
        max(0, 1 + np.sum((a - p) ** 2) - np.sum((a - n) ** 2))
        for a, p, *negatives in (unit[:12], unit[12:])
        for n in negatives
    ]
    found = jax.jit(lambda x: term({'target': {'feature': x}}, {}, None, None))(features)
    assert 0 < np.mean(losses) / 2 == pytest.approx(float(found), rel=1e-5)


def test_coupling_draws_pairs_that_agree_together_and_others_apart():
    """With responses that are the same for all positive pairs and opposite for negative ones the
    loss is 0 where labels agree, and 0 where they do not.
    """
    coupling = jax.jit(mtdnet_terms.coupling, static_argnames=('negatives', 'margin'))
    positive, negative = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    rows = np.stack([positive, negative, negative, positive, negative, negative]).astype(np.float32)
    assert float(
        coupling(jax.random.key(0), rows, 5 * rows, negatives=2, margin=1.0)
    ) == pytest.approx(0, abs=1e-6)
    # With the target's roles exchanged, those that agree lie 2 ** 0.5 apart, the others together:
    # 1/2 d^2 = 1 or 1/2 m^2 = 1/2 each, and half of them agree.
    swapped = np.stack([negative, positive, positive, negative, positive, positive]).astype(
        np.float32
    )
    found = [
        float(coupling(jax.random.key(i), rows, target, negatives=2, margin=1.0))
        for target in (swapped, np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))
        for i in range(4)
    ]
    assert found[:4] == pytest.approx([0.75] * 4)
    assert len(set(found[4:])) > 1  # another draw per iteration


@pytest.mark.parametrize('coupled', ['fc7', 'relu7'])
def test_what_is_coupled(coupled):
    """Responses that differ below 0 alone are the same after the ReLU."""
    term = mtdnet_terms.contrastive_term(mtdnet.Settings(coupled=coupled, triplets_per_pair=1))
    source = np.tile(np.array([1.0, 0.0], np.float32), (2, 1))
    target = np.tile(np.array([1.0, -1.0], np.float32), (2, 1))
    outputs = {'source': {'responses': source}, 'target': {'responses': target}}
    context = Context(jax.random.key(0), np.float32(0))
    found = jax.jit(lambda outputs: term(outputs, {}, None, context))(outputs)
    distance = np.sqrt(2 - 2 / np.sqrt(2)) if coupled == 'fc7' else 0.0
    expected = (distance**2 / 2 + max(0, 1 - distance) ** 2 / 2) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_biases_learn_at_twice_the_rate_and_do_not_decay():
    optimizer = method_of(learning_rate=0.1, weight_decay=0.5).phases[0].optimizer
    own = {'fc8': {'kernel': jnp.full(2, 3.0), 'bias': jnp.full(2, 3.0)}}
    params = {**own, mtdnet.COPY: own}
    transform = optimizer(10)
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = transform.update(gradient, transform.init(params), params)
    np.testing.assert_allclose(updates['fc8']['kernel'], -0.1 * (1 + 0.5 * 3), rtol=1e-6)
    np.testing.assert_allclose(updates['fc8']['bias'], -0.2, rtol=1e-6)
    np.testing.assert_array_equal(updates[mtdnet.COPY]['fc8']['bias'], 0)


@pytest.mark.slow
@pytest.mark.parametrize('source_copy', ['frozen', 'trained'])
def test_copies_that_learn_and_losses_that_reach_them(source_copy):
    method = method_of('mtdnet-cross', source_copy=source_copy)
    params, state = jax.jit(method.init)(jax.random.key(0))
    phase = method.phases[-1]
    params, _ = phase.start(params, state)
    for own, copy in zip(
        jax.tree.leaves(mtdnet.own_network(params)),
        jax.tree.leaves(params[mtdnet.COPY]),
        strict=True,
    ):
        np.testing.assert_array_equal(own, copy)
    batch = {
        name: {'image': images_of(20, seed=seed)} for seed, name in enumerate(('source', 'target'))
    }

    statistics = []

    def terms(params):
        context = Context(jax.random.key(1), jnp.float32(0))
        outputs, moved = phase.forward(params, state, batch, context)
        statistics.append(moved.statistics)
        return {name: term(outputs, batch, state, context) for name, term in phase.terms.items()}

    @jax.jit
    def gradients_of(params):
        values, pull = jax.vjp(terms, params)
        one = jnp.float32(1)
        return {term: pull({name: one * (name == term) for name in values})[0] for term in values}

    gradients = gradients_of(params)

    def reached(term):
        gradient = gradients[term]
        return {
            side: any(np.abs(x).max() > 0 for x in jax.tree.leaves(tree))
            for side, tree in (
                ('copy', gradient[mtdnet.COPY]),
                ('own', mtdnet.own_network(gradient)),
            )
        }

    trained = source_copy == 'trained'
    copy = phase.optimizer.groups_of(params)[mtdnet.COPY]
    assert ('frozen' in jax.tree.leaves(copy)) != trained
    assert reached('contrastive') == {'copy': trained, 'own': True}
    for term in ('triplet', 'pairs'):
        assert reached(term) == {'copy': False, 'own': True}
        if trained:
            assert reached(f'source_{term}') == {'copy': True, 'own': False}
    assert any(name.startswith('source_') for name in gradients) == trained
    assert (statistics[0]['source'] is state.statistics['source']) != trained


@pytest.mark.parametrize(
    ('variant', 'streams'),
    [
        ('mtdnet', {'target': 20}),
        ('mtdnet-aug', {'target': 5, 'source': 15}),
        ('mtdnet-cross', {'target': 20, 'source': 20}),
    ],
)
def test_streams_of_the_second_phase(variant, streams):
    """MTDnet-aug takes the sets in proportion to their images, 300 and 100."""
    method = method_of(variant)
    assert {name: stream.batch for name, stream in method.phases[-1].streams.items()} == streams
    assert [phase.name for phase in method.phases] == [
        'source',
        variants.method_settings(variant).target_training,
    ]
    optimizer = method.phases[0].optimizer
    assert (optimizer.name, optimizer.b1, optimizer.multipliers['frozen']) == ('sgd', 0.9, 0.0)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('variant', 'changes', 'message'),
    [
        (
            'mtdnet',
            {'form': 'both'},
            "method.form is 'both'; expected 'multi' or 'classification' or 'ranking'",
        ),
        ('mtdnet', {'form': 'ranking'}, "'ranking' has no part that classifies pairs"),
        ('mtdnet-trp', {'form': 'classification'}, "'classification' has no ranking feature"),
        ('mtdnet-rnk', {'target_training': 'cross'}, "'cross' couples fc7's responses"),
        ('mtdnet-aug', {'pairs_per_batch': 1}, 'pairs_per_batch is 1; expected 2 or more'),
        ('mtdnet', {'source_iterations': 0, 'target_iterations': 0}, 'both 0'),
        (
            'mtdnet',
            {'target_iterations': 9},
            r'target_iterations is 9, no multiple of method.epoch_iterations \(6\)',
        ),
        ('mtdnet', {'labelled': False}, 'supervised on the target .*data.target_labels is False'),
    ],
)
def test_settings_that_are_refused(variant, changes, message):
    with pytest.raises(ValueError, match=message):
        method_of(variant, **changes)


def test_source_phase_alone_needs_no_label_of_the_target():
    assert [phase.name for phase in method_of(labelled=False, target_iterations=0).phases] == [
        'source'
    ]


def test_no_other_system_is_given_labels_of_the_target(tiny_config, tmp_path):
    config = tiny_config()
    config.data.target_labels = True
    with pytest.raises(
        ValueError,
        match="data.target_labels is True, but 'dmtnet' adapts to a target without labels",
    ):
        train.train(config, tmp_path)


def test_small_configs_keep_what_the_variant_changes():
    for make in (demo.get_config, pku2ward.get_config):
        config = make('mtdnet-cross')
        assert (
            config.method.target_training,
            config.model.backbone,
            config.data.target_labels,
        ) == ('cross', 'caffenet', True)
        assert make('dmtnet').data.target_labels is False


@pytest.mark.parametrize(
    'pair', ['cuhk03', 'cuhk032cuhk01', 'cuhk032ilids', 'cuhk032prid', 'cuhk032viper']
)
def test_papers_pairs(pair):
    """CaffeNet at 224 x 224, CUHK03 in 1,160/100/100, single shots by expectation, and
    options that the loaders have.
    """
    config = importlib.import_module(f'configs.{pair}').get_config('mtdnet-cls')
    assert (
        config.model.backbone,
        config.data.height,
        config.data.width,
        config.evaluation.single_shot,
    ) == ('caffenet', 224, 224, 'exact')
    assert (config.method.source_iterations, config.method.target_iterations) == (
        200_000,
        0 if pair == 'cuhk03' else 20_000,
    )
    source = config.data.source_options
    assert (
        config.data.source,
        source.protocol,
        source.pairs,
        source.test_people,
        source.validation_people,
    ) == ('cuhk03', 'classic', 3, 100, 100)
    for side in ('source', 'target'):
        assert set(config.data[f'{side}_options']) <= set(
            inspect.signature(LOADERS[config.data[side]]).parameters
        )
    # Where a person has several gallery images, all are kept: of one drawn image the expectation
    # would be that draw.
    assert config.data.target_options.get('shots') == (
        'all' if config.data.target in ('cuhk01', 'cuhk03') else None
    )
