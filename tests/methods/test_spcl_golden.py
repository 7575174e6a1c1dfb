"""SpCL beside its own program, of which `scripts/parity/spcl.py` kept an epoch of 20 steps."""

import dataclasses
import types

import jax
import numpy as np
import official
import pytest
from sklearn.metrics import adjusted_rand_score

from jreid.methods.contract import SOURCE, TARGET, Problem, RefreshContext, State
from jreid.methods.settings.spcl import Settings
from jreid.methods.spcl import spcl
from jreid.models.small_cnn import SmallCNN

STEPS, CLASSES = 20, 6
SETTINGS = Settings(
    epochs=1,
    steps=STEPS,
    identities_per_batch=4,
    images_per_identity=4,
    schedule='constant',
    k1=10,
    k2=4,
    eps_gap=0.05,
)


@pytest.fixture(scope='module')
def kept(golden):
    with np.load(golden / 'spcl.npz') as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def begun(kept):
    """The system as its first epoch begins: the program's weights, its bank filled, clustered."""
    target, source = kept['target'], kept['source']
    problem = Problem((12, 6), CLASSES, len(source), len(target))
    method = spcl(SmallCNN((16,)), problem, SETTINGS)
    params, state = official.zeros(jax.eval_shape(method.init, jax.random.key(0)))
    statistics = {domain: official.part(kept, 'statistics') for domain in (SOURCE, TARGET)}
    params = {**params, **official.part(kept, 'params')}
    memory = {**state.memory, 'limit': np.float32(-1)}
    params, state = method.phases[0].start(params, State(statistics, memory))
    # The domains' statistics and parameters are equal yet, so one call describes both.
    images = official.PLAIN.fixed(np.concatenate([source, target]))
    describe = jax.jit(method.describe, static_argnums=3)
    feature = np.asarray(describe(params, state, images, TARGET)['feature'])
    cameras = np.zeros(len(source), np.int32), kept['camera']
    described = [
        {'feature': x, 'camera': camera}
        for x, camera in zip(np.split(feature, [len(source)]), cameras, strict=True)
    ]
    described[0]['identity'] = kept['identity']
    context = RefreshContext(jax.random.key(0), np.full(len(target), -1), last=False)
    return method, method.refresh(params, state, *described, context)


def test_bank_and_classes_of_the_first_epoch_are_the_programs(begun, kept):
    memory = begun[1].state.memory
    np.testing.assert_allclose(memory['bank'], kept['bank'], atol=1e-5)
    assert adjusted_rand_score(kept['label'], memory['label']) == 1
    _, sizes = np.unique(kept['label'][CLASSES:], return_counts=True)
    assert min((sizes > 1).sum(), (sizes == 1).sum()) >= 5


def test_twenty_steps_are_the_programs(begun, kept):
    method, refreshed = begun
    batches = [
        {
            SOURCE: {'image': kept['source'][rows], 'identity': kept['identity'][rows]},
            TARGET: {'image': kept['target'][others], 'row': others},
        }
        for rows, others in zip(kept['source_rows'], kept['target_rows'], strict=True)
    ]
    losses, now = official.steps_taken(
        method.phases[0], refreshed.params, refreshed.state, batches, STEPS
    )
    for domain in (SOURCE, TARGET):
        np.testing.assert_allclose(losses[domain], kept[f'loss_{domain}'], rtol=1e-4)
    bank = now.state.memory['bank']
    np.testing.assert_allclose(bank, kept['bank_after'], atol=1e-4)
    assert np.abs(bank - kept['bank']).max() > 0.1  # it moved


def groups(rows, label, camera, size):
    """Splits a pass into an image and those drawn for it; the last group may be cut."""
    found = []
    while len(rows):
        members = np.flatnonzero(label == label[rows[0]])
        group, rows = np.split(rows, [min(size if len(members) > 1 else 1, len(rows))])
        elsewhere = members[camera[members] != camera[group[0]]]
        others = elsewhere if len(elsewhere) else np.setdiff1d(members, group[0])
        assert np.isin(group[1:], others).all()
        if len(others) >= size:
            assert len(np.unique(group)) == len(group)
        found.append(label[group[0]])
    return found


def test_passes_over_the_target_are_of_the_programs_form(begun, kept):
    labels, camera = begun[1].labels, kept['camera']
    label = kept['label'][CLASSES:]
    theirs = groups(kept['pass_rows'], label, camera, 4)
    assert sorted(theirs) == sorted(np.unique(label))
    plan = begun[0].phases[0].streams['target'].plan
    index = types.SimpleNamespace(camera=camera)
    rows = plan(index, labels, 3, np.random.default_rng(0)).ravel()
    ours = groups(rows, label, camera, 4)
    assert len(set(ours)) == len(ours) > len(theirs) - 16


def test_common_norms_are_shared_and_their_neck_has_no_bias():
    problem = Problem((12, 6), CLASSES, 24, 120)
    shapes = []
    for affine in ('domain', 'common'):
        method = spcl(SmallCNN((16,)), problem, dataclasses.replace(SETTINGS, norm_affine=affine))
        shapes.append(jax.eval_shape(method.init, jax.random.key(0))[0])
    apart, common = shapes
    norms = apart.pop('source_norms')
    assert set(norms['backbone']['norms_0']) == set(norms['neck']['bn']) == {'scale', 'bias'}
    assert set(norms['backbone']) == {'norms_0'}
    assert set(apart) == set(common) == {'backbone', 'neck'}
    assert set(common['neck']['bn']) == {'scale'}
