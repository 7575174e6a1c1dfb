"""The trainer's promises, proved on the toy system: resuming, refreshing, the summary, refusals."""

import contextlib
import dataclasses
import functools
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import toy

from jreid.engine import sharding
from jreid.methods.contract import Refreshed
from jreid.run.checkpoints import Checkpoints
from jreid.run.lock import alone
from jreid.run.system import build_system
from jreid.training import loop, preflight
from jreid.training.data import open_data
from jreid.training.progress import Progress


def last_checkpoint(workdir):
    """Reads the last checkpoint, whole, with the position beside it."""
    restored = Checkpoints(workdir / 'checkpoints', read_only=True).restore_whole()
    assert restored is not None
    return restored


def same_runs(one, two):
    """Asserts that checkpoints, metrics, labels and rows of two runs are bit for bit the same."""
    first, second = last_checkpoint(one), last_checkpoint(two)
    assert {'params', 'state', 'opt_state', 'step'} <= set(first.tree['state'])
    assert set(first.tree['state']['state']) == {'statistics', 'memory'}
    assert jax.tree.structure(first.tree) == jax.tree.structure(second.tree)
    jax.tree.map(np.testing.assert_array_equal, first.tree, second.tree)
    assert (first.number, first.meta['position']) == (second.number, second.meta['position'])
    assert (one / 'metrics.jsonl').read_bytes() == (two / 'metrics.jsonl').read_bytes()
    names = sorted(path.name for path in (one / 'labels').iterdir())
    assert names == sorted(path.name for path in (two / 'labels').iterdir())
    for name in names:
        assert (one / 'labels' / name).read_bytes() == (two / 'labels' / name).read_bytes()
    first, second = (json.loads((folder / 'summary.json').read_text()) for folder in (one, two))
    for name in ('source_only', 'adabn', 'adapted', 'identities_estimated'):
        assert first[name] == second[name]


@pytest.fixture
def toy_config(tiny_config):
    """A config whose toy run saves within epochs, too: after every third of six steps."""
    config = tiny_config()
    config.checkpoint.every_epochs, config.checkpoint.every_steps = 1, 3
    return config


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('reference')


@pytest.fixture
def finished(folder, toy_config):
    """A toy run that went through; tests only read it."""
    if not (folder / 'summary.json').exists():
        loop.train(toy_config, folder, edit=toy)
    return folder


def records(workdir, kind=None):
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [record for record in found if kind in (None, record['kind'])]


def test_run_folder_is_self_contained(finished):
    summary = json.loads((finished / 'summary.json').read_text())
    for row in ('source_only', 'adabn', 'adapted'):
        assert 0 <= summary[row]['mAP'] <= 100
        assert 0 <= summary[row]['rank1'] <= 100
    assert summary['identities_true'] == 8
    assert 2 <= summary['identities_estimated'] <= 8
    assert json.loads((finished / 'config.json').read_text())['variant'] == 'dmtnet'
    assert {record['kind'] for record in records(finished)} == {'train', 'refresh', 'evaluation'}
    labels = sorted(path.name for path in (finished / 'labels').iterdir())
    numbered = [f'{name}_{i:03d}.csv' for name in ('niec', 'target') for i in range(3)]
    assert labels == ['evaluation_clusters.csv', *numbered]
    head = (finished / 'labels' / 'niec_000.csv').read_text()
    assert head.startswith('total,accuracy,silhouette\n')
    assert list((finished / 'tensorboard').iterdir())


def test_records_hold_every_term_and_metric_and_the_learning_rate(finished):
    first, last = records(finished, 'train')[0], records(finished, 'train')[-1]
    common = {'step', 'kind', 'phase', 'loss', 'gradient_norm', 'classification'}
    assert set(first) == common | {'source_accuracy', 'learning_rate'}
    assert set(last) == common | {'contrast', 'agreement', 'learning_rate'}
    assert first['learning_rate'] == pytest.approx(0.1)
    assert last['learning_rate'] < 0.01  # half-linear, near its end
    terms = last['classification'] + last['contrast'] + last['agreement']
    assert last['loss'] == pytest.approx(terms, rel=1e-4)


def test_source_phase_learns(finished):
    losses = [r['classification'] for r in records(finished, 'train') if r['phase'] == 'source']
    assert losses[-1] < 0.9 * losses[0]


def test_memory_moves_once_per_update_and_comes_through_phases(finished):
    memory = last_checkpoint(finished).tree['state']['state']['memory']
    assert int(memory['updates']) == 3 * 6  # steps of the second phase
    params = last_checkpoint(finished).tree['state']['params']
    distance = np.abs(np.asarray(memory['teacher']['classifier']) - params['classifier']).max()
    assert 0 < distance < 1


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the trainer may catch it."""


@pytest.mark.parametrize(
    ('owner', 'method', 'calls'),
    [
        (loop.Run, '_account', 4),
        pytest.param(Progress, 'save', 2, marks=pytest.mark.slow),
        (loop.Run, 'refresh', 1),
        pytest.param(loop.Run, '_report', 1, marks=pytest.mark.slow),
        pytest.param(loop.Run, '_report', 3, marks=pytest.mark.slow),
        pytest.param(loop.Run, 'begin_phase', 2, marks=pytest.mark.slow),
        pytest.param(loop.Run, 'after_epoch', 4, marks=pytest.mark.slow),
        pytest.param(loop.Run, '_account', 17, marks=pytest.mark.slow),
        pytest.param(Progress, 'save', 12, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_one_that_ran_through(
    owner, method, calls, finished, toy_config, tmp_path, monkeypatch
):
    original, count = getattr(owner, method), 0

    def dies(self, *arguments, **options):
        nonlocal count
        count += 1
        if count == calls:
            raise Killed
        return original(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, dies)
        with pytest.raises(Killed):
            loop.train(toy_config, tmp_path, edit=toy)
    loop.train(toy_config, tmp_path, edit=toy)
    same_runs(finished, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(('dear', 'made'), [(0, 2), (60, 3)], ids=['dear', 'cheap'])
def test_a_dear_refresh_is_saved_and_a_cheap_one_made_again(
    dear, made, short_toy_run, tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, '_DEAR_REFRESH', dear)
    original, count = loop.refreshing.refreshed, 0

    def counted(*arguments):
        nonlocal count
        count += 1
        return original(*arguments)

    def dies(self):
        assert count <= 1, 'not the first refresh'
        if count:
            raise Killed
        return epoch(self)

    epoch, short = loop.Run.epoch, functools.partial(toy, epochs=(1, 2))
    monkeypatch.setattr(loop.refreshing, 'refreshed', counted)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, 'epoch', dies)
        with pytest.raises(Killed):
            loop.train(tiny_config(), tmp_path, edit=short)
    loop.train(tiny_config(), tmp_path, edit=short)
    assert count == made
    same_runs(short_toy_run, tmp_path)


def test_folder_of_another_config_is_refused(finished, toy_config):
    toy_config.method.learning_rate = 0.5
    with pytest.raises(ValueError, match=r'method\.learning_rate: 0\.01 there, 0\.5 now'):
        loop.train(toy_config, finished, edit=toy)


def test_checkpoint_of_another_system_is_refused(finished, toy_config):
    def wider(method):
        changed = toy()

        def grown(key):
            return jax.tree.map(lambda x: jnp.pad(x, 1) if x.ndim else x, toy().init(key))

        return dataclasses.replace(changed, init=grown)

    with pytest.raises(RuntimeError, match='does not fit this run'):
        loop.train(toy_config, finished, edit=wider)


def test_one_process_at_a_time_trains_in_a_folder(toy_config, tmp_path):
    with (
        alone(tmp_path),
        pytest.raises(RuntimeError, match=rf'another process \({os.getpid()} on .*\) trains in'),
    ):
        loop.train(toy_config, tmp_path, edit=toy)
    with alone(tmp_path), alone(tmp_path, active=False):  # other hosts of one run
        pass


@contextlib.contextmanager
def opened(config, workdir, edit=toy):
    """A run that is opened and not trained."""
    data = open_data(config.data, select_on_source=False)
    problem = data.problem((32, 16), given_identities=False)
    system = build_system(config, problem, sharding.make_mesh(), edit)
    run = loop.Run(config, workdir, data, system)
    with contextlib.closing(run.progress):
        yield run


def test_batch_of_the_evaluation_is_no_part_of_the_training(toy_config, tmp_path):
    """It may change when a run goes on, so the first statistics must not depend on it."""
    found = []
    for batch in (16, 7):
        toy_config.evaluation.batch = batch
        with opened(toy_config, tmp_path / str(batch)) as run:
            found.append(run._adabn())
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_statistics_of_the_target_alone_change_with_adabn(toy_config, tmp_path):
    with opened(toy_config, tmp_path) as run:
        before, after = run.state.state.statistics, run._adabn()
    np.testing.assert_array_equal(before['source']['mean'], after['source']['mean'])
    assert np.abs(np.asarray(after['target']['mean'])).max() > 0.01


def test_long_run_compiles_each_function_once_per_domain(toy_config, tmp_path, monkeypatch):
    """A run with 10 evaluations and 6 refreshes."""
    counts, finish = {}, loop.Run.finish

    def counted(self):
        counts.update(self.system.functions.compiled())
        return finish(self)

    monkeypatch.setattr(loop.Run, 'finish', counted)
    toy_config.evaluation.every, toy_config.checkpoint.every_steps = 1, 0
    loop.train(toy_config, tmp_path, edit=functools.partial(toy, epochs=(4, 6)))
    assert len(records(tmp_path, 'refresh')) == 6
    assert len(records(tmp_path, 'evaluation')) == 3 + 1 + 1 + 5 + 1
    domains = [
        f'{name}:{domain}' for name in ('embed', 'describe') for domain in ('source', 'target')
    ]
    assert counts == dict.fromkeys([*domains, 'statistics'], 1)


# -- refreshes ---------------------------------------------------------------------------------


def with_wide_classifier(refreshed):
    params = {**refreshed.params, 'classifier': np.zeros((8, 9))}
    return dataclasses.replace(refreshed, params=params)


def with_memory(refreshed, memory):
    return dataclasses.replace(refreshed, state=refreshed.state._replace(memory=memory))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            with_wide_classifier,
            r'a refresh gave params/classifier as float64 \(8, 9\); expected float32 \(8, 8\)',
        ),
        (
            lambda r: with_memory(r, {**r.state.memory, 'bank': np.zeros((9, 8))}),
            r'a refresh gave state/memory/bank as float64 \(9, 8\); expected float32 \(8, 8\)',
        ),
        (
            lambda r: with_memory(r, {k: v for k, v in r.state.memory.items() if k != 'updates'}),
            'a refresh gave state/memory/updates as nothing; expected int32',
        ),
        (
            lambda r: dataclasses.replace(r, labels=r.labels[:-1]),
            r'a refresh gave labels int32 \(95, 2\); expected integers, one row for each of 96',
        ),
        (
            lambda r: dataclasses.replace(r, labels=r.labels.astype(float)),
            'a refresh gave labels float64',
        ),
    ],
)
def test_what_a_refresh_gives_is_checked_and_the_leaf_is_named(change, message):
    params, state = toy().init(jax.random.key(0))
    refreshed = Refreshed(np.zeros((96, 2), np.int32), params, state, {}, {})
    preflight.check_refreshed(refreshed, params, state, images=96, columns=2)
    with pytest.raises(ValueError, match=message):
        preflight.check_refreshed(change(refreshed), params, state, images=96, columns=2)


def test_trainer_checks_what_a_refresh_gives(toy_config, tmp_path):
    def wrong(method):
        system = toy(epochs=(0, 1))
        return dataclasses.replace(
            system, refresh=lambda *arguments: with_wide_classifier(system.refresh(*arguments))
        )

    with pytest.raises(ValueError, match='a refresh gave params/classifier as float64'):
        loop.train(toy_config, tmp_path, edit=wrong)


def test_one_array_in_two_places_of_a_refresh_or_start_trains(toy_config, tmp_path):
    """A donated buffer may not stand twice in a tree; the trainer copies on the way in."""

    def shared(method):
        system = toy(epochs=(0, 2), start=lambda params, state: (params, state))

        def refresh(params, state, source, target, context):
            refreshed = system.refresh(params, state, source, target, context)
            bank = jnp.asarray(refreshed.state.memory['bank'])
            params = {**refreshed.params, 'classifier': bank}
            memory = {**state.memory, 'bank': bank, 'teacher': params}
            new = refreshed.state._replace(memory=memory)
            return dataclasses.replace(refreshed, params=params, state=new)

        return dataclasses.replace(system, refresh=refresh)

    toy_config.checkpoint.every_steps = 0
    summary = loop.train(toy_config, tmp_path, edit=shared)
    assert summary['steps'] == 12


def test_start_that_changes_a_shape_is_refused(toy_config, tmp_path):
    def start(params, state):
        return {**params, 'classifier': jnp.zeros((8, 3))}, state

    with pytest.raises(ValueError, match="start of phase 'adapt' gave params/classifier as"):
        loop.train(toy_config, tmp_path, edit=functools.partial(toy, epochs=(0, 1), start=start))


def test_phase_that_refreshes_needs_a_system_that_can(toy_config, tmp_path):
    def no_refresh(method):
        return dataclasses.replace(toy(), refresh=None)

    with pytest.raises(ValueError, match="phase 'adapt' refreshes every 1 epochs, and 'toy' has"):
        loop.train(toy_config, tmp_path, edit=no_refresh)


# -- what stops a run --------------------------------------------------------------------------


def test_the_very_step_and_term_that_is_not_finite_are_named(toy_config, tmp_path):
    """One term, NaN from the fourth of six steps on; what was saved before is named and stays."""

    def spoilt(outputs, batch, state, context):
        return jnp.where(context.progress > 2.5 / 6, jnp.nan, 0.0)

    def with_term(method):
        system = toy(epochs=(1, 1))
        first = system.phases[0]
        first = dataclasses.replace(first, terms={**first.terms, 'spoilt': spoilt})
        return dataclasses.replace(system, phases=(first, *system.phases[1:]))

    toy_config.checkpoint.every_steps = 2
    message = (
        r'^step 4 \(phase source\): loss, spoilt not finite; the last checkpoint is'
        r' of step 2\. '
    )
    with pytest.raises(FloatingPointError, match=message):
        loop.train(toy_config, tmp_path, edit=with_term)
    assert last_checkpoint(tmp_path).meta['position']['step'] == 2


@pytest.mark.slow
def test_run_with_accumulation_trains_and_one_that_cannot_stops_at_once(toy_config, tmp_path):
    toy_config.train.accumulate, toy_config.checkpoint.every_steps = 2, 0
    loop.train(toy_config, tmp_path / 'two', edit=toy)
    losses = [r['classification'] for r in records(tmp_path / 'two', 'train')]
    assert losses[-1] < losses[0]
    memory = last_checkpoint(tmp_path / 'two').tree['state']['state']['memory']
    assert int(memory['updates']) == 18  # once per update, not once per part
    for value, message in (
        (4, '4 groups of 4 images .* do not divide into 4 parts'),
        (0, 'train.accumulate is 0; expected 1 or more'),
    ):
        toy_config.train.accumulate = value
        with pytest.raises(ValueError, match=message):
            loop.train(toy_config, tmp_path / f'refused{value}', edit=toy)
    toy_config.train.accumulate, toy_config.train.compute_dtype = 1, 'float16'
    with pytest.raises(
        ValueError, match="train.compute_dtype is 'float16'; expected 'float32' or 'bfloat16'"
    ):
        loop.train(toy_config, tmp_path / 'half', edit=toy)


def test_best_checkpoint_is_kept_and_evaluated(toy_config, tmp_path):
    """It is chosen by the source's test split among the last phase's epochs, and kept."""
    toy_config.evaluation.select, toy_config.checkpoint.keep = 'best', 1
    toy_config.checkpoint.every_steps = 0
    loop.train(toy_config, tmp_path, edit=functools.partial(toy, epochs=(1, 3)))
    checkpoints = Checkpoints(tmp_path / 'checkpoints', scored=True, read_only=True)
    scores = [(r['source_mAP'], r['step']) for r in records(tmp_path) if 'source_mAP' in r]
    assert len(scores) == 3
    best = checkpoints.best()
    assert best is not None
    assert {step: score for score, step in scores}[best // 10] == max(scores)[0]


def test_the_table_comes_before_the_features_of_figures(tmp_path, toy_config, monkeypatch):
    """They take minutes on real sets, as long as the evaluation did."""
    seen = []

    def features(*_, **__):
        seen.append((tmp_path / 'run' / 'summary.json').exists())
        raise RuntimeError('stopped among the figures')

    monkeypatch.setattr('jreid.training.measuring.figure_features', features)
    toy_config.figures.enabled = True
    with pytest.raises(RuntimeError, match='stopped among the figures'):
        loop.train(toy_config, tmp_path / 'run', edit=toy)
    assert seen == [True]
