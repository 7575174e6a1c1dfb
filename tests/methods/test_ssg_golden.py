"""SSG beside its own program, of which `scripts/parity/ssg.py` kept a round of 20 steps."""

import jax
import numpy as np
import official
import pytest
from flax import traverse_util
from sklearn.metrics import adjusted_rand_score

from jreid.configs.systems.ssg import AUTHORS
from jreid.methods.contract import SOURCE, TARGET, Problem, RefreshContext, State
from jreid.methods.settings.ssg import Settings
from jreid.methods.ssg import PARTS, ssg
from jreid.methods.ssg_terms import grouped_triplet
from jreid.models.small_cnn import SmallCNN

STEPS = 20
SMALL = {'rounds': 1, 'round_epochs': 1, 'round_steps': STEPS, 'group_identities': 4}
SMALL |= {'group_learning_rate': 0.01, 'joint_width': 8, 'rho': 0.13, 'source_epochs': 0}


@pytest.fixture(scope='module')
def kept(golden):
    with np.load(golden / 'ssg.npz') as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def begun(kept):
    """The system of `ssg-2019` as its first round begins, with the program's weights, grouped."""
    source, target = kept['source'], kept['target']
    problem = Problem((12, 6), 6, len(source), len(target))
    method = ssg(SmallCNN((16,)), problem, Settings(**{**AUTHORS, **SMALL}))
    params, state = official.zeros(jax.eval_shape(method.init, jax.random.key(0)))
    params |= official.part(kept, 'params')
    statistics = official.part(kept, 'statistics')
    statistics = {**state.statistics[TARGET], **statistics}
    state = State({SOURCE: statistics, TARGET: statistics}, state.memory)
    images = official.PLAIN.fixed(np.concatenate([source, target]))
    described = jax.jit(method.describe, static_argnums=3)(params, state, images, TARGET)
    domains = [
        {name: np.asarray(x)[rows] for name, x in described.items()}
        | {'camera': np.zeros(len(images))[rows]}
        for rows in (slice(None, len(source)), slice(len(source), None))
    ]
    context = RefreshContext(jax.random.key(0), np.full((len(target), 3), -1), last=False)
    return method, method.refresh(params, state, *domains, context)


def test_groups_are_the_programs(begun, kept):
    found = begun[1]
    # The program computes distances in float16.
    eps = [found.report[f'eps_{name}'] for name in PARTS]
    np.testing.assert_allclose(eps, kept['eps'], rtol=0.02)
    theirs = kept['label'].copy()
    theirs[(theirs < 0).any(axis=1)] = -1  # the program leaves these images out of the round
    assert 0 < (theirs[:, 0] < 0).sum() < 60
    for column in range(3):
        assert adjusted_rand_score(theirs[:, column], found.labels[:, column]) >= 0.99


def test_twenty_steps_are_the_programs(begun, kept):
    method, found = begun
    batches = [
        {TARGET: {'image': kept['target'][rows], 'label': kept['label'][rows]}}
        for rows in kept['rows']
    ]
    losses, now = official.steps_taken(method.phases[0], found.params, found.state, batches, STEPS)
    np.testing.assert_allclose(losses['loss'], kept['loss'], rtol=1e-4, atol=1e-6)
    assert (kept['loss'] > 0.03).sum() == STEPS - 1
    ours = traverse_util.flatten_dict(dict(now.params), sep='/')
    for name, theirs in kept.items():
        if name.startswith('params_after/'):
            place = name.removeprefix('params_after/')
            np.testing.assert_allclose(ours[place], theirs, atol=1e-4)
            assert np.abs(theirs - kept[f'params/{place}']).max() > 0.01  # it moved


def test_batches_have_the_programs_form(begun, kept):
    label = kept['label'][:, 0]
    plan = begun[0].phases[0].streams['target'].plan
    for rows in (kept['rows'], plan(None, begun[1].labels[:, 0], STEPS, np.random.default_rng(0))):
        groups = label[rows.reshape(STEPS, 4, 4)]
        assert (groups == groups[:, :, :1]).all()
        assert all(len(set(step[:, 0])) == 4 for step in groups)


def test_pairs_of_images_without_a_label_or_a_negative_are_not_counted():
    features = np.float32([[0, 0], [3, 4], [0, 1], [0, 3]])
    loss = jax.jit(grouped_triplet, static_argnames='group')
    # D(0, 1) = 5, the nearest negative is 1 away; D(2, 3) = 2, and that of 2 is 1 away.
    assert loss(features, np.array([0, 0, 1, 1]), group=2, margin=0.5) == (4.5 + 1.5) / 2
    assert loss(features, np.array([0, 0, 1, -1]), group=2, margin=0.5) == 4.5
    assert loss(features, np.zeros(4, int), group=2, margin=0.5) == 0
    with pytest.raises(ValueError, match='4 images do not divide into groups of 3'):
        grouped_triplet(features, np.zeros(4, int), group=3, margin=0.5)
