"""SpCL and MMT without a source: what is left out, and what is said where one is read."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mmt_case import SMALL, Backbone

from jreid import methods
from jreid.configs import base, market
from jreid.methods.contract import TARGET, Problem, RefreshContext, State
from jreid.methods.mmt import mmt
from jreid.methods.settings import spcl as settings
from jreid.methods.spcl import SOURCE_NORMS, spcl

IMAGES, SIZE = 40, (8, 4)
ALONE = Problem(SIZE, source_identities=0, source_images=0, target_images=IMAGES)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def features(people, seed=3):
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(people, 4))[np.arange(IMAGES) % people])


def context():
    return RefreshContext(jax.random.key(0), np.full(IMAGES, -1), last=False)


def test_spcl_reads_and_holds_the_target_alone():
    small = settings.Settings(
        epochs=3, steps=2, identities_per_batch=2, images_per_identity=2, k1=8, k2=2, eps=0.5
    )
    method = spcl(Backbone(), ALONE, small)
    phase = method.phases[0]
    assert (set(phase.streams), set(phase.terms)) == ({TARGET}, {TARGET})
    assert [method.reads(number) for number in (0, 1)] == [(TARGET,), ()]
    # Shapes alone, which compile nothing.
    params, state = jax.eval_shape(method.init, jax.random.key(0))
    assert SOURCE_NORMS not in params
    assert set(params['neck']['bn']) == {'scale'}
    assert state.memory['bank'].shape == (IMAGES, 4)
    state = State({}, {**state.memory, 'limit': jnp.full((), -1.0)})
    target = {'feature': features(4), 'camera': np.zeros(IMAGES, int)}
    found = method.refresh(params, state, None, target, context())
    np.testing.assert_allclose(found.state.memory['bank'], target['feature'], rtol=1e-5)
    assert found.report['identities_estimated'] == 4
    assert not found.useless
    # A class per cluster, numbered from 0: no place is kept for classes of a source.
    assert set(np.asarray(found.state.memory['label'])) == set(range(4))
    batch = {TARGET: {'image': np.zeros((4, *SIZE, 3), np.float32), 'row': np.array([5, 6, 5, 7])}}
    outputs = {TARGET: {'feature': jnp.asarray(features(4, seed=5)[:4])}}
    # The loss of the authors' program: of the target's classes alone.
    bank, label = target['feature'].astype(np.float64), np.asarray(found.state.memory['label'])
    similar = np.asarray(outputs[TARGET]['feature']) @ bank.T / 0.05
    logits = np.stack([similar[:, label == c].mean(1) for c in range(4)], 1)
    exps = np.exp(logits)
    chosen = exps[np.arange(4), label[batch[TARGET]['row']]] / (exps.sum(1) + 1e-6)
    loss = jax.jit(phase.terms[TARGET])(outputs, batch, found.state, None)
    np.testing.assert_allclose(loss, -np.log(chosen + 1e-6).mean(), rtol=1e-4)
    moved = jax.jit(phase.after_update)({}, found.state, outputs, batch).memory['bank']
    changed = np.abs(np.asarray(moved) - bank).max(axis=1) > 1e-4
    np.testing.assert_array_equal(np.flatnonzero(changed), [5, 6, 7])


def test_spcl_does_not_train_on_one_class(caplog):
    small = settings.Settings(identities_per_batch=2, k1=39, k2=6, eps=0.9)
    method = spcl(Backbone(), ALONE, small)
    _, state = jax.eval_shape(method.init, jax.random.key(0))
    state = State({}, {**state.memory, 'limit': jnp.full((), -1.0)})
    target = {'feature': features(IMAGES), 'camera': np.zeros(IMAGES, int)}
    with caplog.at_level(logging.WARNING, 'jreid'):
        found = method.refresh({}, state, None, target, context())
    assert not found.labels.any()
    assert found.useless
    assert 'all 40 images are one cluster, and there is no source: nothing is' in caplog.text
    assert 'a smaller method.eps (0.9) or a larger method.min_samples (4)' in caplog.text


def test_a_source_without_identities_is_not_taken_for_none():
    problem = dataclasses.replace(ALONE, source_images=12)
    with pytest.raises(ValueError, match='P = 16 identities cannot be drawn from the 0 of the sou'):
        spcl(Backbone(), problem, settings.Settings())


@pytest.mark.parametrize('changes', [{'clusters': 4}, {'clustering': 'dbscan', 'clusters': 0}])
def test_mmt_from_weights_needs_no_source(changes):
    given = dataclasses.replace(SMALL, source_epochs=0, **changes)
    assert not given.needs_source
    method = mmt(Backbone(), ALONE, given)
    assert [phase.name for phase in method.phases] == ['adapt']
    assert set(method.phases[0].streams) == {TARGET}
    assert [method.reads(number) for number in (0, 1)] == [(TARGET,)] * 2


def test_mmt_says_which_way_eps_must_go(caplog):
    given = dataclasses.replace(
        SMALL, source_epochs=0, clustering='dbscan', clusters=0, k1=39, k2=6, rho=1.0
    )
    method = mmt(Backbone(), ALONE, given)
    _, state = jax.eval_shape(method.init, jax.random.key(0))
    memory = {'eps': jnp.zeros(()), 'valid': jnp.zeros(20, bool)}
    x = features(IMAGES)
    target = {'first': x, 'second': x, 'camera': np.zeros(IMAGES, int)}
    with caplog.at_level(logging.WARNING, 'jreid'):
        found = method.refresh({}, state._replace(memory=memory), None, target, context())
    assert found.useless
    assert '1 clusters in 40 images: this epoch trains nothing' in caplog.text
    assert 'A smaller method.rho (1) or a larger method.min_samples (4) finds' in caplog.text


def test_a_number_of_clusters_beside_dbscan_is_refused():
    given = dataclasses.replace(SMALL, source_epochs=0, clustering='dbscan', clusters=9)
    with pytest.raises(ValueError, match="method.clusters is 9, and .* is 'dbscan'.*clusters=0"):
        mmt(Backbone(), ALONE, given)


@pytest.mark.parametrize('variant', ['mmt', 'ssg', 'bl-cluster-contrast'])
def test_what_a_source_is_read_for_can_be_left_out(variant):
    problem = Problem((32, 16), source_identities=0, source_images=0, target_images=96)
    asked = r"'{}' reads a source .* name one, set source_epochs=0 with .*, or choose an unsup"
    config = base.get_config(variant).method
    with pytest.raises(ValueError, match=asked.format(config.name)):
        methods.build(config, Backbone(), problem)


@pytest.mark.parametrize('variant', ['spcl', 'mmt', 'mmt-after', 'mmt-dbscan', 'cluster-contrast'])
def test_unsupervised_configs_have_variants_that_do_without(variant):
    config = market.get_config(variant)
    assert not methods.read_settings(config.method).needs_source
    assert methods.build(config.method, Backbone(), dataclasses.replace(ALONE, target_images=900))


def test_given_counts_are_of_k_means_there_too():
    config = market.get_config('mmt-500').method
    assert (config.clustering, config.clusters, config.source_epochs) == ('kmeans', 500, 0)
