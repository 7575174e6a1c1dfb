"""SpCL against loops in numpy: the memory's loss and update, reliable clusters, batches."""

import dataclasses
import functools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from killed import train_killed_at_second_refresh
from preparing import prepared
from sklearn.cluster import DBSCAN

from jreid.engine import state as states
from jreid.engine import steps
from jreid.methods.contract import SOURCE, TARGET, Problem, RefreshContext
from jreid.methods.settings.spcl import Settings
from jreid.methods.spcl import spcl
from jreid.methods.spcl_memory import hybrid, hybrid_contrast, move, self_paced
from jreid.run.checkpoints import Checkpoints
from jreid.training import loop

SIZE, CLASSES, IMAGES, WIDTH = (8, 4), 3, 40, 4
PROBLEM = Problem(SIZE, source_identities=CLASSES, source_images=12, target_images=IMAGES)
SMALL = Settings(
    epochs=3, steps=2, identities_per_batch=2, images_per_identity=2, k1=8, k2=2, eps=0.5
)


class Backbone(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Conv(WIDTH, (3, 3))(x)


def built(**changes):
    return spcl(Backbone(), PROBLEM, dataclasses.replace(SMALL, **changes))


def units(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# -- memory ------------------------------------------------------------------------------------


def reference(features, own, bank, label, temperature):
    """The loss of the authors' program, in float64: exp, sums, and epsilons of 1e-6."""
    losses = []
    for f, c in zip(features, own, strict=True):
        z = bank @ f / temperature
        exps = {k: np.exp(z[label == k].mean()) for k in np.unique(label)}
        losses.append(-np.log(exps[c] / (sum(exps.values()) + 1e-6) + 1e-6))
    return np.mean(losses)


@pytest.mark.parametrize('temperature', [0.05, 1.0])
def test_loss_is_that_of_the_authors_program(temperature):
    rng = np.random.default_rng(0)
    features, bank = units(rng, 6, WIDTH), units(rng, 12, WIDTH)
    # Classes 2 and 8 on are empty; class 3 has four entries.
    label = np.array([0, 1, 3, 3, 3, 4, 5, 5, 6, 7, 3, 7])
    own = np.array([0, 3, 3, 5, 7, 6])
    loss = jax.jit(
        jax.value_and_grad(lambda f, b: hybrid_contrast(f, own, b, label, temperature=temperature))
    )
    value, gradient = loss(jnp.asarray(features, jnp.float32), jnp.asarray(bank, jnp.float32))
    np.testing.assert_allclose(value, reference(features, own, bank, label, temperature), rtol=1e-4)
    step = rng.normal(size=features.shape)
    sides = [reference(features + e * step, own, bank, label, temperature) for e in (1e-5, -1e-5)]
    np.testing.assert_allclose(
        np.sum(gradient * step), (sides[0] - sides[1]) / 2e-5, rtol=2e-3, atol=1e-5
    )


def test_a_class_far_away_has_a_bounded_loss():
    bank = jnp.eye(2)
    contrast = jax.jit(functools.partial(hybrid_contrast, temperature=0.01))
    loss = contrast(-bank[:1], jnp.array([0]), bank, jnp.arange(2))
    np.testing.assert_allclose(loss, -np.log(1e-6), rtol=1e-5)


def test_bank_moves_entry_by_entry_also_where_one_comes_twice():
    rng = np.random.default_rng(1)
    bank, features = units(rng, 5, WIDTH), units(rng, 6, WIDTH)
    entries = np.array([3, 0, 3, 3, 1, 0])
    found = jax.jit(move, static_argnames='momentum')(bank, features, entries, momentum=0.2)
    for x, y in zip(features, entries, strict=True):
        bank[y] = 0.2 * bank[y] + 0.8 * x
        bank[y] /= np.linalg.norm(bank[y])
    np.testing.assert_allclose(found, bank, rtol=1e-5, atol=1e-6)
    assert Settings().momentum == 0.2


# -- clusters ----------------------------------------------------------------------------------


def judged(labels, tight, loose, limit, share):
    """The reliability of the authors' program with its matrices of images x images."""

    def same(numbers):
        numbers = numbers.copy()
        noise = numbers < 0
        numbers[noise] = numbers.max() + 1 + np.arange(noise.sum())
        return numbers, (numbers[:, None] == numbers[None]).astype(np.float32)

    own, a = same(labels)
    lack, dependence = (
        1 - np.minimum(a, b).sum(1) / np.maximum(a, b).sum(1)
        for b in (same(other)[1] for other in (tight, loose))
    )
    members = {c: np.flatnonzero(own == c) for c in np.unique(own)}
    best_lack = {c: lack[m].min() for c, m in members.items()}
    best = {c: dependence[m].min() for c, m in members.items()}
    if limit < 0:
        scores = np.sort([best[c] for c, m in members.items() if len(m) > 1])
        limit = scores[min(len(scores) - 1, np.round(len(scores) * share).astype(int))]
    kept = [best[c] <= limit and lack[i] <= best_lack[c] for i, c in enumerate(own)]
    return [
        frozenset(i for i in m if kept[i])
        for c, m in members.items()
        if sum(kept[i] for i in m) > 1
    ], limit


@pytest.mark.parametrize('seed', range(4))
def test_reliable_clusters_are_those_of_the_authors_program(seed):
    rng = np.random.default_rng(seed)
    person = rng.integers(0, 9, 80)
    x = rng.normal(size=(9, 3))[person] + rng.normal(size=(80, 3)) * 0.25
    sets = [DBSCAN(eps=eps, min_samples=4).fit_predict(x) for eps in (0.5, 0.42, 0.58)]
    expected, limit = judged(*sets, -1, 0.6)
    labels, found = self_paced(*sets, -1.0, share=0.6)
    assert found == pytest.approx(limit, rel=1e-6)
    clusters = [frozenset(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    assert set(clusters) == set(expected)
    assert 0 < (labels >= 0).sum() < (sets[0] >= 0).sum()
    # The limit stays in later epochs.
    expected, _ = judged(*sets, 0.1, 0.6)
    labels, found = self_paced(*sets, 0.1, share=0.6)
    assert found == 0.1
    assert (labels >= 0).sum() == sum(map(len, expected))


def test_nothing_clustered_leaves_the_limit_open():
    noise = np.full(5, -1)
    labels, limit = self_paced(noise, noise, noise, -1.0, share=0.9)
    assert (labels == -1).all()
    assert limit == -1


def people(count, seed=3, noise=0.02, images=IMAGES):
    rng = np.random.default_rng(seed)
    x = units(rng, count, WIDTH)[np.arange(images) % count]
    return unit(x + noise * rng.normal(size=x.shape))


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def described(count, **options):
    source = {
        'feature': people(CLASSES, 5, images=12),
        'identity': np.where(np.arange(12) < 11, np.arange(12) % CLASSES, -1),
        'camera': np.zeros(12, int),
    }
    target = {'feature': people(count, **options), 'camera': np.arange(IMAGES) // count % 2}
    return source, target


def refreshed(method, params, state, source=None, target=None):
    context = RefreshContext(jax.random.key(0), np.full(IMAGES, -1), last=False)
    return method.refresh(params, state, source, target, context)


@pytest.fixture(scope='module')
def begun():
    method = built()
    return method, *jax.jit(method.init)(jax.random.key(0))


def test_bank_is_filled_once_and_clustered_from_then_on(begun):
    method, params, state = begun
    source, target = described(4)
    first = refreshed(method, params, state, source, target)
    bank, label = (np.asarray(first.state.memory[name]) for name in ('bank', 'label'))
    means = [source['feature'][source['identity'] == c].mean(0) for c in range(CLASSES)]
    np.testing.assert_allclose(bank[:CLASSES], unit(np.stack(means)), rtol=1e-5)
    np.testing.assert_allclose(bank[CLASSES:], target['feature'], rtol=1e-5)
    assert first.report['identities_estimated'] == 4
    np.testing.assert_array_equal(label[:CLASSES], np.arange(CLASSES))
    # Clustered images share a class, un-clustered ones have their own.
    own = label[CLASSES:]
    for i, cluster in enumerate(first.labels):
        members = first.labels == cluster if cluster >= 0 else np.arange(IMAGES) == i
        np.testing.assert_array_equal(own == own[i], members)
    assert set(own) == set(range(CLASSES, own.max() + 1))
    # Later re-labellings read the bank alone.
    assert [method.reads(n) for n in (0, 1)] == [(SOURCE, TARGET), ()]
    moved = {**first.state.memory, 'bank': jnp.asarray(np.concatenate([bank[:CLASSES], people(5)]))}
    again = refreshed(method, params, first.state._replace(memory=moved))
    assert again.report['identities_estimated'] == 5
    np.testing.assert_array_equal(again.state.memory['bank'], moved['bank'])
    assert again.report['independence_limit'] == first.report['independence_limit'] >= 0


def test_clusters_of_features_centred_by_camera(begun):
    _, params, state = begun
    source, target = described(4)
    offset = np.where(target['camera'][:, None] == 0, 3.0, -3.0)
    target['feature'] = unit(target['feature'] + offset)
    found = {
        centring: refreshed(built(cluster_centring=centring), params, state, source, target).labels
        for centring in ('none', 'camera')
    }
    people_ = np.arange(IMAGES) % 4
    across = {
        name: sum(len(set(target['camera'][(labels == c)])) > 1 for c in range(labels.max() + 1))
        for name, labels in found.items()
    }
    assert across['none'] == 0 < across['camera']
    assert all(len(set(people_[found['camera'] == c])) == 1 for c in range(4))


def test_batches_have_clusters_by_k_and_others_one_by_one():
    labels = np.array([0, 0, 0, 1, 1, -1, -1, 2, 2, 2, -1, -1])
    index = types.SimpleNamespace(camera=np.arange(12) % 2)
    stream = hybrid(2, 2)
    rows = stream.plan(index, labels, 40, np.random.default_rng(0))
    assert rows.shape == (40, 4)
    assert rows.dtype == np.int32
    counts = np.bincount(rows.ravel(), minlength=12)
    # Of 10 rows in a pass two are dropped with the remainder.
    alone, clustered = counts[labels < 0], counts[labels >= 0].sum()
    assert alone.min() >= 10
    assert 0.45 < clustered / rows.size < 0.75
    assert len(np.unique(rows[0])) == 4
    few = types.SimpleNamespace(camera=np.full(3, -1))
    only = stream.plan(few, np.array([0, 0, -1]), 3, np.random.default_rng(0))
    assert only.shape == (3, 4)  # fewer rows than a batch repeat
    nothing = stream.plan(index, np.full(12, -1), 3, np.random.default_rng(0))
    assert sorted(nothing.ravel()) == list(range(12))


# -- the whole ---------------------------------------------------------------------------------


def test_step_reads_and_moves_the_bank_and_compiles_once(begun):
    method, params, state = begun
    phase = method.phases[0]
    optimizer = phase.optimizer(6)
    plain = prepared(std=(0.5,) * 3, pad=0, erase_probability=0.0)
    step = steps.train_step(phase, optimizer, plain, start=0, steps=6)
    now = states.create(*jax.tree.map(jnp.array, (params, state)), optimizer)
    rng = np.random.default_rng(0)
    for number, count in enumerate((4, 7, 5)):
        seen = described(count) if number == 0 else (None, None)
        if number:
            bank = np.concatenate([np.asarray(now.state.memory['bank'])[:CLASSES], people(count)])
            memory = {**now.state.memory, 'bank': jnp.asarray(bank)}
            now = dataclasses.replace(now, state=now.state._replace(memory=memory))
        found = refreshed(method, now.params, now.state, *seen)
        assert found.report['identities_estimated'] == count
        now = dataclasses.replace(now, state=found.state)
        before, row = np.array(now.state.memory['bank']), np.array([5, 6, 5, 7], np.int32)
        images = rng.integers(0, 255, (2, 4, *SIZE, 3), np.uint8)
        batch = {
            SOURCE: {'image': images[0], 'identity': np.array([0, 0, 2, 2], np.int32)},
            TARGET: {'image': images[1], 'row': row},
        }
        now, values = step.run(now, batch, jax.random.key(0))
        moved = (np.asarray(now.state.memory['bank']) != before).any(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(moved), [0, 2, *np.unique(row) + CLASSES])
        assert np.isfinite(list(step.scalars(values).values())).all()
    assert step.run._cache_size() == 1


def test_domains_have_statistics_of_their_own(begun):
    method, params, state = begun
    images = np.random.default_rng(0).normal(size=(2, 4, *SIZE, 3)).astype(np.float32)
    images[1] += 2
    batch = {name: {'image': x} for name, x in zip((SOURCE, TARGET), images, strict=True)}
    outputs, moved = jax.jit(method.phases[0].forward)(params, state, batch, None)
    means = [moved.statistics[d]['neck']['bn']['mean'] for d in (SOURCE, TARGET)]
    assert not np.allclose(*means)
    for domain in (SOURCE, TARGET):
        length = np.linalg.norm(outputs[domain]['feature'], axis=1)
        np.testing.assert_allclose(length, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'identities_per_batch': 4}, 'P = 4 identities cannot be drawn from the 3 of the source'),
        ({'temperature': 0.0}, 'method.temperature is 0.0; expected a number above 0'),
        (
            {'eps_gap': 0.5},
            'method.eps is 0.5 and method.eps_gap 0.5; expected eps - eps_gap above 0',
        ),
        ({'eps': 0.99}, r'expected .* eps \+ eps_gap below 1, the greatest Jaccard distance'),
        ({'k2': 9}, r'method.k2 is 9; expected at most method.k1 \(8\)'),
        ({'momentum': 2.0}, 'method.momentum is 2.0; expected a number from 0 to 1'),
    ],
)
def test_settings_that_cannot_be_served(changes, message):
    with pytest.raises(ValueError, match=message):
        built(**changes)


@pytest.mark.slow
def test_trains_from_random_weights_and_resumes_exactly(tiny_config, tmp_path, monkeypatch):
    def config():
        made = tiny_config('spcl', epochs=3, steps=4, k1=6, k2=3)
        made.model.options = {'widths': (16,)}
        made.checkpoint.every_epochs = 1
        return made

    summary = loop.train(config(), tmp_path / 'whole')
    assert 'adapted' in summary
    train_killed_at_second_refresh(config(), tmp_path / 'killed', monkeypatch)
    loop.train(config(), tmp_path / 'killed')
    trees, lines = [], []
    for folder in ('whole', 'killed'):
        found = Checkpoints(tmp_path / folder / 'checkpoints', read_only=True).restore_model()
        trees.append(found.tree)
        lines.append((tmp_path / folder / 'metrics.jsonl').read_bytes())
    jax.tree.map(np.testing.assert_array_equal, *trees)
    assert lines[0] == lines[1]
    last = [r for r in map(json.loads, lines[0].splitlines()) if r['kind'] == 'train'][-1]
    assert {'source', 'target'} <= set(last)
