"""Tests SSG: several labels per image, eps that is kept, and the start from another run."""

import contextlib
import functools
import json

import jax
import numpy as np
import optax
import pytest
from killed import train_killed_at_second_refresh

from jreid import methods
from jreid.configs import variants
from jreid.engine import sharding
from jreid.engine.state import create
from jreid.methods.contract import Problem, RefreshContext, State
from jreid.methods.settings.ssg import Settings, check
from jreid.models import BACKBONES
from jreid.run.checkpoints import Checkpoints
from jreid.run.system import build_system
from jreid.training import loop
from jreid.training.data import open_data

SMALL = {
    'rounds': 2,
    'round_epochs': 1,
    'group_identities': 4,
    'group_images': 4,
    'group_learning_rate': 1e-3,
    'joint_width': 8,
    'k1': 6,
    'k2': 3,
    'rho': 0.05,
}
PARTS = ('whole', 'upper', 'lower')


def restored(workdir):
    found = Checkpoints(workdir / 'checkpoints', read_only=True).restore_model()
    assert found is not None
    return found.tree


def records(workdir, kind):
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [line for line in lines if line['kind'] == kind]


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def light(config):
    """Leaves little to compile."""
    config.model.options = {'widths': (16,)}
    config.augment.erase_probability = 0.0
    return config


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('ssg')


@pytest.fixture
def config_of(tiny_config):
    def make(variant, **method):
        epochs = 2 if variant == 'bl-ssg' else 0
        settings = {**SMALL, 'source_epochs': epochs, 'cluster_centring': 'none', **method}
        return light(tiny_config(variant, **settings))

    return make


@pytest.fixture
def finished(folder, config_of):
    if not (folder / 'summary.json').exists():
        loop.train(config_of('bl-ssg'), folder)
    return folder


def test_rounds_with_three_label_sets_and_one_eps(finished):
    summary = json.loads((finished / 'summary.json').read_text())
    assert set(summary) >= {'source_only', 'adabn', 'adapted', 'identities_estimated'}
    rounds = records(finished, 'refresh')
    assert len(rounds) == 2
    for part in PARTS:
        assert 0 < rounds[0][f'eps_{part}'] < 0.9
        assert rounds[0][f'eps_{part}'] == rounds[1][f'eps_{part}']
    assert rounds[0]['eps_upper'] != rounds[0]['eps_lower']
    table = np.genfromtxt(
        finished / 'labels' / 'target_001.csv', delimiter=',', names=True, dtype=None, encoding=None
    )
    assert table.dtype.names == ('image', 'label', 'label_2', 'label_3')
    clusters = len(np.unique(table['label'])) - (table['label'] < 0).any()
    assert clusters == rounds[1]['clusters_whole']
    assert (table['label_3'] < 0).sum() == rounds[1]['noise_lower']
    assert {'joint', *PARTS} <= set(records(finished, 'train')[-1])


def test_checkpoint_keeps_eps_for_the_rounds_that_follow(finished):
    eps = restored(finished)['state'].memory['eps']
    first = records(finished, 'refresh')[0]
    np.testing.assert_allclose(eps, [first[f'eps_{part}'] for part in PARTS], rtol=1e-6)


@pytest.mark.slow
def test_killed_in_the_second_round_resumes_exactly(finished, config_of, tmp_path, monkeypatch):
    config = config_of('bl-ssg')
    config.checkpoint.every_epochs = 1
    train_killed_at_second_refresh(config, tmp_path, monkeypatch)
    loop.train(config, tmp_path)
    same(restored(finished), restored(tmp_path))
    for name in ('metrics.jsonl', 'labels/target_001.csv'):
        assert (finished / name).read_bytes() == (tmp_path / name).read_bytes()


@contextlib.contextmanager
def opened(config, workdir):
    """Yields a run that is opened and not trained."""
    data = open_data(config.data, select_on_source=False)
    problem = data.problem((32, 16), given_identities=False)
    system = build_system(config, problem, sharding.make_mesh())
    run = loop.Run(config, workdir, data, system)
    with contextlib.closing(run.progress):
        yield run


def write_run(config, workdir):
    """Writes the checkpoint of a run of another system, with random parameters."""
    data = open_data(config.data, select_on_source=False)
    problem = data.problem((32, 16), given_identities=False)
    method = build_system(config, problem, sharding.make_mesh()).method
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    params, state = jax.tree.map(lambda x: rng.random(x.shape).astype(x.dtype), shapes)
    tree = {
        'state': create(params, state, optax.identity()),
        'labels': np.zeros(problem.target_images, np.int32),
    }
    checkpoints = Checkpoints(workdir / 'checkpoints')
    checkpoints.save(0, tree, {'position': {}})
    checkpoints.close()
    return params


@pytest.mark.parametrize(
    ('system', 'settings', 'unused'),
    [
        ('source-only', {'source_epochs': 1}, 'params/classification/kernel'),
        (
            'dien-base',
            {'joint_epochs': 1, 'embedding_width': 8, 'target_batch': 16},
            'params/embedding/',
        ),
    ],
)
def test_starts_from_a_run_of_another_system(
    system, settings, unused, config_of, tiny_config, tmp_path, caplog
):
    """DMTNet or DIEN, to be refined."""
    there = write_run(light(tiny_config(system, **settings)), tmp_path / 'other')
    config = config_of('ssg-dagger')
    config.init.run = str(tmp_path / 'other')
    with caplog.at_level('INFO', logger='jreid'), opened(config, tmp_path / 'ssg') as run:
        same(there['backbone'], run.state.params['backbone'])
        assert not run.state.state.memory['eps'].any()
    assert f'not used: {unused}' in caplog.text
    assert 'stays fresh: params/joint/kernel' in caplog.text


@pytest.mark.slow
def test_dagger_refines_another_run(finished, config_of, tmp_path):
    # Nothing moves the parameters, so what is left at the end is what the run started from.
    config = config_of(
        'ssg-dagger', rounds=1, group_learning_rate=0.0, weight_decay=0.0, neighbours=10
    )
    config.init.run = str(finished)
    summary = loop.train(config, tmp_path)
    assert 'adapted' in summary
    assert 'source_only' not in summary
    same(restored(finished)['params']['backbone'], restored(tmp_path)['params']['backbone'])


def test_run_of_another_backbone_or_none_is_refused(finished, config_of, tmp_path):
    config = config_of('ssg-dagger')
    config.init.run = str(finished)
    config.model.options = {'widths': (48,)}
    with pytest.raises(
        ValueError,
        match=r'params/backbone/.* here, .* in the run; give both runs the same model.backbone',
    ):
        loop.train(config, tmp_path / 'one')
    config.init.run = str(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match='holds no run'):
        loop.train(config, tmp_path / 'two')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'cluster_centring': 'cameras'},
            "method.cluster_centring is 'cameras'; expected 'camera' or 'none'",
        ),
        ({'rho': -1.0}, 'method.rho is -1.0; expected a share above 0 and at most 1'),
        ({'rho': 5.0}, 'method.rho is 5.0; expected a share above 0 and at most 1'),
        ({'group_identities': 1}, 'P = 1 clusters per batch leaves the triplet loss without neg'),
        ({'group_images': 1}, 'K = 1 images per group leaves the triplet loss without positives'),
        ({'identities_per_batch': 1}, 'P = 1 identities per batch leaves the triplet loss without'),
        ({'k1': 2}, r'method.k2 is 3; expected at most method.k1 \(2\)'),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    problem = Problem((16, 8), source_identities=4, source_images=16, target_images=20)
    with pytest.raises(ValueError, match=message):
        check(problem, Settings(**{'identities_per_batch': 4, 'k2': 3, **changes}))


@pytest.mark.parametrize(
    ('variant', 'batch_norm', 'estimated'),
    [
        ('bl-ssg', 'joint', False),
        ('bl-ssg', 'split', True),
        ('ssg', 'joint', False),
        ('ssg', 'split', True),
        ('ptl-ssg', 'joint', False),
        ('ptl-ssg-split', 'split', False),  # tracked by the proxy tasks on the target
    ],
)
def test_statistics_that_the_rounds_start_from(variant, batch_norm, estimated):
    settings = variants.method_settings(variant, {'batch_norm': batch_norm})
    assert settings.batch_norm == batch_norm
    problem = Problem(
        (32, 16), 20, 60, 60, target_attribute_names=('hat',), mask_domains=('target',)
    )
    method = methods.build(settings, BACKBONES['tiny_cnn'].constructor(), problem)
    assert method.phases[-1].adapt_statistics == estimated


AUTHORS = Problem((32, 16), 20, 60, 60)


def built(variant, **changes):
    settings = variants.method_settings(variant)
    settings.update({**changes, 'joint_width': 8})
    return methods.build(settings, BACKBONES['tiny_cnn'].constructor(), AUTHORS)


def test_authors_program_trains_as_it_is_published():
    phase = built('ssg-2019', source_epochs=0).phases[-1]
    optimizer = phase.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.b1) == ('sgd', 6e-5, 0.9)
    assert (phase.epochs, phase.refresh_every, phase.steps_per_epoch) == (30 * 70, 70, 20)
    assert phase.streams['target'].batch == 32 * 4
    # PTL's is as it was.
    other = built('ptl-ssg-dagger', parsing='none', attributes='none').phases[-1]
    assert (other.optimizer.name, other.epochs, other.steps_per_epoch) == ('adam', 60, 0)


def test_authors_features_are_averaged_with_the_mirrored_images_and_joined_to_unit_length():
    images = np.random.default_rng(0).normal(size=(3, 32, 16, 3)).astype(np.float32)
    for variant, mirrored in (('ssg-2019', True), ('bl-ssg', False)):
        method = built(variant, pooling='average')
        params, state = jax.jit(method.init)(jax.random.key(0))

        @jax.jit
        def features(params, state, m=method):
            embed, describe = (
                functools.partial(f, params, state, domain='target') for f in (m.embed, m.describe)
            )
            return embed(images), embed(images[:, :, ::-1]), describe(images)

        one, two, parts = features(params, state)
        assert np.allclose(one, two, atol=1e-5) == mirrored
        length = np.linalg.norm(one, axis=1)
        np.testing.assert_allclose(length, 1.0 if mirrored else np.sqrt(3), rtol=1e-5)
        for name in PARTS:
            np.testing.assert_allclose(np.linalg.norm(parts[name], axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize('noise', ['part', 'image'])
def test_images_that_are_noise_for_a_part(noise):
    method = built('bl-ssg', **{**SMALL, 'noise': noise, 'rho': 0.08}, source_epochs=0)
    state = State({'source': {}, 'target': {}}, {'eps': np.zeros(3, np.float32)})
    context = RefreshContext(jax.random.key(0), np.full((60, 3), -1), last=False)
    labels = method.refresh({}, state, described(1), described(2), context).labels
    some, every = (labels < 0).any(axis=1), (labels < 0).all(axis=1)
    assert 0 < some.sum() < 60
    assert (some == every).all() == (noise == 'image')
    rows = method.phases[-1].streams['target'].plan(None, labels[:, 0], 30, np.random.default_rng())
    assert (labels[rows, 0] < 0).any() == (noise == 'part')


def described(seed, images=60, width=8):
    """Returns unit features of 12 people, to which each camera adds something."""
    rng = np.random.default_rng(seed)
    person, camera = np.arange(images) % 12, np.arange(images) // 12 % 2
    features = {}
    for name in PARTS:
        x = rng.standard_normal((12, width))[person] + 0.5 * rng.standard_normal((2, width))[camera]
        x += 0.2 * rng.standard_normal(x.shape)
        features[name] = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return {**features, 'camera': camera}


@pytest.mark.parametrize('variant', ['ssg', 'ssg-dagger'])
def test_rounds_on_features_centred_by_camera(variant):
    eps, problem = {}, Problem((32, 16), 20, 60, 60)
    source = described(1) if variant == 'ssg' else None
    for centring in ('none', 'camera'):
        edits = {**SMALL, 'source_epochs': 0, 'cluster_centring': centring, 'neighbours': 20}
        settings = variants.method_settings(variant)
        settings.update(edits)
        method = methods.build(settings, BACKBONES['tiny_cnn'].constructor(), problem)
        assert method.refresh_reads == (('source', 'target') if source else ('target',))
        state = State({'source': {}, 'target': {}}, {'eps': np.zeros(3, np.float32)})
        context = RefreshContext(jax.random.key(0), np.full((60, 3), -1), last=False)
        refreshed = method.refresh({}, state, source, described(2), context)
        assert refreshed.labels.shape == (60, 3)
        assert refreshed.state.statistics == state.statistics
        eps[centring] = refreshed.report['eps_whole']
        np.testing.assert_allclose(refreshed.state.memory['eps'][0], eps[centring], rtol=1e-6)
    assert 0 < eps['camera'] != eps['none']
