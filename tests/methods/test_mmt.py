"""MMT against loops in numpy: losses, mean teachers, clusters."""

import dataclasses
import functools
import logging
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mmt_case import IMAGES, SIZE, SMALL, WIDTH, Backbone, assert_equal_trees, built
from preparing import prepared
from scipy.special import log_softmax, softmax

from jreid.engine import state as states
from jreid.engine import steps
from jreid.methods import mmt as module
from jreid.methods.common import grouping
from jreid.methods.contract import TARGET, RefreshContext, State
from jreid.methods.mmt_networks import begin, mean_teachers
from jreid.methods.mmt_terms import mutual_terms
from jreid.methods.settings.mmt import Settings


@pytest.fixture(scope='module')
def begun():
    """The system, its parameters, and its state at the begin of the adaptation."""
    method = built()
    return method, *jax.jit(lambda key: begin(*method.init(key)))(jax.random.key(0))


# -- losses ------------------------------------------------------------------------------------


def triplets(x, labels):
    """(anchor, hardest positive, hardest negative) of each anchor that has both."""
    for a in range(len(x)):
        d = np.linalg.norm(x - x[a], axis=1)
        near = [b for b in range(len(x)) if b != a and labels[b] == labels[a]]
        far = [b for b in range(len(x)) if labels[b] != labels[a]]
        if near and far:
            yield a, max(near, key=lambda b, d=d: d[b]), min(far, key=lambda b, d=d: d[b])


def reference(out, labels, count, weights, smoothing=0.1):
    """The four losses of the authors' program, in float64; it cuts logits to `count` classes."""
    hard_ce = soft_ce = hard_tri = soft_tri = 0.0
    for own, other in (('', '_2_teacher'), ('_2', '_teacher')):
        log_p = log_softmax(out[f'logits{own}'][:, :count], axis=1)
        targets = (1 - smoothing) * np.eye(count)[labels] + smoothing / count
        hard_ce += -(targets * log_p).sum(axis=1).mean()
        soft_ce += -(softmax(out[f'logits{other}'][:, :count], axis=1) * log_p).sum(axis=1).mean()
        x, y, hard, soft = out[f'pooled{own}'], out[f'pooled{other}'], [], []
        for a, p, n in triplets(x, labels):
            own_pair = log_softmax([np.linalg.norm(x[a] - x[b]) for b in (p, n)])
            theirs = softmax([np.linalg.norm(y[a] - y[b]) for b in (p, n)])
            hard.append(-own_pair[1])
            soft.append(-(theirs * own_pair).sum())
        hard_tri, soft_tri = hard_tri + np.mean(hard), soft_tri + np.mean(soft)
    identity, triplet = weights
    return {
        'identity': (1 - identity) * hard_ce,
        'triplet': (1 - triplet) * hard_tri,
        'soft_identity': identity * soft_ce,
        'soft_triplet': triplet * soft_tri,
    }


def test_losses_are_those_of_the_authors_program(begun):
    _, _, state = begun
    rng, count = np.random.default_rng(0), 5
    labels = np.array([0, 0, 3, 3, 4, 4, 1, 1])
    out = {}
    for end in ('', '_2', '_teacher', '_2_teacher'):
        out[f'pooled{end}'] = rng.normal(size=(8, WIDTH))
        out[f'logits{end}'] = rng.normal(size=(8, 9)) * 2
        out[f'logits{end}'][:, count:] = -1e9
    memory = {**state.memory, 'valid': jnp.arange(9) < count}
    state = state._replace(memory=memory)
    outputs = {TARGET: {name: jnp.asarray(x, jnp.float32) for name, x in out.items()}}
    batch = {TARGET: {'label': jnp.asarray(labels)}}
    settings = dataclasses.replace(SMALL, soft_identity=0.4, soft_triplet=0.7)
    terms = mutual_terms(settings)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def losses(outputs):
        found = {n: term(outputs, batch, state, None) for n, term in terms.items()}
        return sum(found.values()), found

    gradient, found = losses(outputs)
    gradient, expected = gradient[TARGET], reference(out, labels, count, (0.4, 0.7))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5)
    assert all((np.asarray(gradient[n]) == 0).all() for n in gradient if n.endswith('teacher'))
    assert all(np.asarray(gradient[n]).any() for n in gradient if not n.endswith('teacher'))


# -- networks and teachers ---------------------------------------------------------------------


def test_each_network_and_its_teacher_see_one_view(begun):
    method, params, state = begun
    state.memory['valid'] = jnp.arange(9) < 3
    # Teachers that are not their networks.
    teachers = jax.tree.map(lambda x: x + 0.1, params)
    state = state._replace(memory={**state.memory, 'teachers': teachers})
    images = np.random.default_rng(0).normal(size=(2, 6, *SIZE, 3)).astype(np.float32)
    phase = method.phases[-1]
    forward = jax.jit(lambda p, s, x: phase.forward(p, s, {TARGET: {'image': x}}, None))
    backbone = jax.jit(Backbone().apply)
    outputs, moved = forward(params, state, images)
    out = outputs[TARGET]
    assert moved.memory.keys() == state.memory.keys()
    for view, own in enumerate(('', '_2')):
        for tree, end in ((params, ''), (teachers, '_teacher')):
            maps = backbone({'params': tree[f'backbone{own}']}, images[view])
            pooled = np.asarray(maps.mean((1, 2)))
            np.testing.assert_allclose(out[f'pooled{own}{end}'], pooled, rtol=1e-4, atol=1e-5)
            # Of the batch, for the teachers as well.
            kernel = tree[f'target_classifier{own}']['fc']['kernel']
            scale = tree[f'neck{own}']['bn']['scale']
            neck = (pooled - pooled.mean(0)) / np.sqrt(pooled.var(0) + 1e-5) * scale
            logits = neck @ kernel
            np.testing.assert_allclose(
                out[f'logits{own}{end}'][:, :3], logits[:, :3], rtol=1e-3, atol=1e-4
            )
            assert (out[f'logits{own}{end}'][:, 3:] == -1e9).all()
            mean = moved.statistics[TARGET][f'neck{own}{end}']['bn']['mean']
            np.testing.assert_allclose(mean, 0.1 * pooled.mean(0), rtol=1e-4, atol=1e-5)
    assert not np.allclose(out['pooled'], out['pooled_2'])
    assert method.embed(params, moved, images[0], TARGET).shape == (6, WIDTH)


def test_networks_start_from_keys_of_their_own(begun):
    _, params, _ = begun
    kernels = [params[f'backbone{end}']['Conv_0']['kernel'] for end in ('', '_2')]
    assert not np.allclose(*kernels)


def test_mean_teachers_by_hand():
    rng = np.random.default_rng(1)
    memory = {'teachers': {'w': jnp.asarray(rng.normal(size=3))}, 'updates': jnp.zeros((), int)}
    state = State({}, memory)
    update = mean_teachers(0.6)
    teacher = np.asarray(memory['teachers']['w'], np.float64)
    for step in range(5):
        params = rng.normal(size=3)
        state = update({'w': jnp.asarray(params, jnp.float32)}, state, {}, {})
        alpha = min(1 - 1 / (step + 1), 0.6)
        teacher = alpha * teacher + (1 - alpha) * params
        np.testing.assert_allclose(state.memory['teachers']['w'], teacher, rtol=1e-5)
    assert state.memory['updates'] == 5
    assert Settings().alpha == 0.999


def test_teachers_follow_their_networks_on_the_source(begun):
    method, params, state = begun
    first = method.phases[0]
    moved = jax.tree.map(lambda x: x + 1, params)
    assert_equal_trees(first.after_update(moved, state, {}, {}).memory['teachers'], moved)
    other = {**state.memory, 'updates': jnp.asarray(7)}
    params, state = begin(moved, state._replace(memory=other))
    assert_equal_trees(state.memory['teachers'], moved)
    assert state.memory['updates'] == 0


def test_the_better_teacher_retrieves(begun):
    method, params, state = begun
    images = np.random.default_rng(0).normal(size=(3, *SIZE, 3)).astype(np.float32)
    described = method.describe(params, state, images, TARGET)
    for better, name in enumerate(('first', 'second')):
        chosen = state._replace(memory={**state.memory, 'better': jnp.asarray(better)})
        found = method.embed(params, chosen, images, TARGET)
        np.testing.assert_allclose(found, described[name], rtol=1e-5)


# -- clusters ----------------------------------------------------------------------------------


def people(count, seed, noise=0.05):
    rng = np.random.default_rng(seed)
    person = np.arange(IMAGES) % count
    x = rng.normal(size=(count, WIDTH))[person] + noise * rng.normal(size=(IMAGES, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def described(count, noise=(0.05, 0.05)):
    first, second = people(count, 3, noise[0]), people(count, 3, noise[1])
    return {'first': first, 'second': second, 'camera': np.zeros(IMAGES, int)}


def refreshed(method, params, state, target, source=None):
    context = RefreshContext(jax.random.key(0), np.full(IMAGES, -1), last=False)
    return method.refresh(params, state, source, target, context)


@pytest.fixture
def grouped(monkeypatch):
    """k-means that finds the people of `described`: the true one takes long to compile."""

    def kmeans(key, x, k, *, n_init, k_max):
        assert len(x) >= k <= k_max
        return types.SimpleNamespace(labels=np.arange(len(x)) % k)

    monkeypatch.setattr(module, 'kmeans', kmeans)


@pytest.fixture
def counts(monkeypatch, grouped):
    """`counts(3, 5)`: what NIEC estimates, one after the other; returns the sources that it got."""

    def give(*numbers):
        left, seen = list(numbers), []

        def estimate(key, source, identity, target, cameras, settings, *, progress):
            seen.append(source)
            return types.SimpleNamespace(count=left.pop(0))

        monkeypatch.setattr(module.niec, 'estimate', estimate)
        monkeypatch.setattr(module.niec, 'table', lambda estimate: {})
        return seen

    return give


def test_clusters_set_all_classifiers_and_the_better_teacher(begun, grouped):
    _, params, state = begun
    target = described(4, noise=(0.3, 0.05))
    found = refreshed(built(clusters=4), params, state, target)
    assert found.report['identities_estimated'] == 4
    mean = (target['first'] + target['second']) / 2
    means = np.stack([mean[found.labels == i].mean(0) for i in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for tree in (found.params, found.state.memory['teachers']):
        for own in ('', '_2'):
            kernel = tree[f'target_classifier{own}']['fc']['kernel']
            np.testing.assert_allclose(kernel, means.T, rtol=1e-4, atol=1e-6)
    assert found.state.memory['better'] == 1
    assert found.report['separation_second'] > found.report['separation_first']
    assert_equal_trees(found.params['backbone'], params['backbone'])


def test_dbscan_keeps_eps_and_leaves_noise_out(begun, caplog):
    _, params, state = begun
    method = built(clustering='dbscan', clusters=0, rho=0.2, k1=8, k2=2)
    assert method.reads(0) == (TARGET,)
    _, state = jax.jit(method.init)(jax.random.key(0))
    found = refreshed(method, params, state, described(4))
    assert found.labels.max() == 3
    programs = module.silhouette_rows._cache_size()
    again = refreshed(method, params, found.state, described(5, noise=(0.2, 0.1)))
    assert again.report['noise'] != found.report['noise']
    assert module.silhouette_rows._cache_size() == programs
    assert again.report['eps'] == found.report['eps'] > 0
    with caplog.at_level(logging.WARNING, 'jreid'):
        nothing = refreshed(method, params, found.state, described(IMAGES, noise=(1.0, 1.0)))
    assert nothing.useless
    assert 'clusters in 40 images: this epoch trains nothing' in caplog.text
    assert 'method.rho (0.2)' in caplog.text


def test_dbscan_takes_eps_where_it_is_given(begun, caplog):
    _, params, _ = begun
    method = built(clustering='dbscan', clusters=0, eps=0.6, k1=8, k2=2)
    _, state = jax.jit(method.init)(jax.random.key(0))
    found = refreshed(method, params, state, described(4))
    assert found.labels.max() == 3
    assert found.report['eps'] == 0.6
    narrow = built(clustering='dbscan', clusters=0, eps=0.05, k1=8, k2=2)
    with caplog.at_level(logging.WARNING, 'jreid'):
        nothing = refreshed(narrow, params, state, described(IMAGES, noise=(1.0, 1.0)))
    assert nothing.useless
    assert 'A larger method.eps (0.05) or a smaller method.min_samples' in caplog.text


SOURCE_PEOPLE = {**described(4), 'identity': np.where(np.arange(IMAGES) < 30, 0, -1)}


def test_niec_counts_every_few_relabellings(counts):
    seen = counts(3, 5)
    method = built(clusters=0, estimate_every=2)
    both = ('source', 'target')
    assert [method.reads(n) for n in range(4)] == [both, (TARGET,), both, (TARGET,)]
    once = built(clusters=0)
    assert [once.reads(n) for n in range(3)] == [both, (TARGET,), (TARGET,)]
    params, state = jax.jit(method.init)(jax.random.key(0))
    found = []
    for number in range(3):
        source = SOURCE_PEOPLE if 'source' in method.reads(number) else None
        result = refreshed(method, params, state, described(6), source)
        state = result.state
        found.append(result.report['identities_estimated'])
    assert found == [3, 3, 5]
    assert [len(x) for x in seen] == [30, 30]  # images of nobody known are left out


def test_single_images_are_noise():
    labels = grouping.without_single(np.array([2, 0, 2, -1, 1, 3, 3, 3]))
    np.testing.assert_array_equal(labels, [0, -1, 0, -1, -1, 1, 1, 1])


def test_another_number_of_clusters_compiles_nothing_anew(counts):
    counts(3, 7, 10)
    method = built(clusters=0, estimate_every=1)
    phase = method.phases[-1]
    optimizer = phase.optimizer(6)
    plain = prepared(std=(0.5,) * 3, pad=0, erase_probability=0.0)
    step = steps.train_step(phase, optimizer, plain, start=0, steps=6)
    params, state = jax.tree.map(jnp.array, method.init(jax.random.key(0)))
    now = states.create(params, state, optimizer)
    rng = np.random.default_rng(0)
    for count in (3, 7, 10):
        found = refreshed(method, now.params, now.state, described(10), SOURCE_PEOPLE)
        assert found.report['identities_estimated'] == count
        # Copied, as the trainer does: the classifiers are the same arrays for all four networks.
        params, state = jax.tree.map(jnp.array, (found.params, found.state))
        now = dataclasses.replace(now, params=params, state=state)
        rows = np.arange(8)
        batch = {
            'image': rng.integers(0, 255, (8, *SIZE, 3), np.uint8),
            'label': found.labels[rows],
        }
        now, values = step.run(now, {TARGET: batch}, jax.random.key(0))
        assert np.isfinite(list(step.scalars(values).values())).all()
    assert step.run._cache_size() == 1
    assert now.state.memory['updates'] == 3
