"""The trainer as a whole: a run's folder, resuming, the summary, and what stops a run."""

import contextlib
import dataclasses
import json
import os

import jax
import numpy as np
import pytest
from PIL import Image

from jreid.run.checkpoints import Checkpoints
from jreid.run.lock import alone
from jreid.training import loop as trainer


def last_checkpoint(workdir):
    """The last checkpoint, whole: parameters, statistics, optimizer, extra arrays, step, labels,
    and the position beside them.
    """
    found = Checkpoints(workdir / 'checkpoints', read_only=True).restore_whole()
    assert found is not None
    return found


def same_runs(one, two):
    """Every array of the last checkpoints, their positions, metrics, labels and rows are bit for
    bit the same.
    """
    first, second = last_checkpoint(one), last_checkpoint(two)
    assert {'params', 'model_state', 'opt_state', 'extra', 'step'} <= set(first.tree['state'])
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


@pytest.fixture(scope='module')
def reference(people, tmp_path_factory):
    """A run that went through, with figures."""
    return tmp_path_factory.mktemp('reference')


@pytest.fixture
def finished(reference, tiny_config):
    if not (reference / 'summary.json').exists():
        config = tiny_config()
        config.checkpoint.every_steps = 1
        trainer.train(config, reference)
    return reference


def test_run_folder_is_self_contained(finished):
    summary = json.loads((finished / 'summary.json').read_text())
    for row in ('source_only', 'adabn', 'adapted'):
        assert 0 <= summary[row]['mAP'] <= 100
        assert 0 <= summary[row]['rank1'] <= 100
    assert summary['identities_true'] == 8
    assert 2 <= summary['identities_estimated'] <= 24
    assert json.loads((finished / 'config.json').read_text())['variant'] == 'dmtnet'
    records = [json.loads(line) for line in (finished / 'metrics.jsonl').read_text().splitlines()]
    assert {record['kind'] for record in records} == {'train', 'refresh', 'evaluation'}
    assert len(list((finished / 'labels').glob('target_*.csv'))) == 2
    assert (
        (finished / 'labels' / 'niec_000.csv').read_text().startswith('total,accuracy,silhouette\n')
    )
    assert list((finished / 'tensorboard').iterdir())


def test_source_phase_learns(finished):
    """Two colours a person are easy: within a few steps the loss falls."""
    records = [json.loads(line) for line in (finished / 'metrics.jsonl').read_text().splitlines()]
    losses = [
        record['classification']
        for record in records
        if record['kind'] == 'train' and record['phase'] == 'source'
    ]
    assert losses[-1] < 0.9 * losses[0]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the trainer may catch it."""


@pytest.mark.parametrize(
    ('method', 'calls'),
    [
        ('_account', 4),
        ('save', 5),
        ('refresh', 1),
        ('_row', 1),
        ('_row', 3),
        ('begin_phase', 2),
        ('after_epoch', 5),
        ('_account', 13),
    ],
)
def test_killed_and_resumed_equals_one_that_ran_through(
    method, calls, finished, tiny_config, tmp_path, monkeypatch
):
    original, count = getattr(trainer.Run, method), 0

    def dies(self, *arguments, **options):
        nonlocal count
        count += 1
        if count == calls:
            raise Killed
        return original(self, *arguments, **options)

    config = tiny_config()
    config.checkpoint.every_steps = 1
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Run, method, dies)
        with pytest.raises(Killed):
            trainer.train(config, tmp_path)
    trainer.train(config, tmp_path)
    same_runs(finished, tmp_path)


def test_folder_of_another_config_is_refused(finished, tiny_config):
    config = tiny_config(learning_rate=0.5)
    config.checkpoint.every_steps = 1
    with pytest.raises(ValueError, match=r'method\.learning_rate: 0\.01 there, 0\.5 now'):
        trainer.train(config, finished)


def test_one_process_at_a_time_trains_in_a_folder(tiny_config, tmp_path):
    with (
        alone(tmp_path),
        pytest.raises(RuntimeError, match=rf'another process \({os.getpid()} on .*\) trains in'),
    ):
        trainer.train(tiny_config(), tmp_path)
    with alone(tmp_path), alone(tmp_path, active=False):  # other hosts of one run
        pass


def test_batch_of_the_evaluation_is_no_part_of_the_training(tiny_config, tmp_path):
    """It may change when a run goes on, so the statistics that the adaptation starts from must
    not depend on it.
    """
    found = []
    for batch in (16, 7):
        config = tiny_config()
        config.evaluation.batch = batch
        with contextlib.closing(trainer.Run(config, tmp_path / str(batch))) as run:
            found.append(run._adapted_statistics())
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_loss_that_is_not_finite_stops_with_step_and_term(tiny_config, tmp_path):
    with pytest.raises(FloatingPointError, match=r'step \d+ \(phase source\): .*matching'):
        trainer.train(tiny_config(learning_rate=1e18), tmp_path)


def test_the_very_step_and_term_that_is_not_finite_are_named(tiny_config, tmp_path):
    """One term of a loss, NaN from the fourth of six steps on; what was saved before is told and
    stays.
    """

    def spoilt(method):
        phase = method.phases[0]

        def objective(params, state, batch, key, progress, extra):
            loss, (state, metrics) = phase.objective(params, state, batch, key, progress, extra)
            term = jax.numpy.where(progress > 2.5 / 6, jax.numpy.nan, 0.0)
            return loss, (state, metrics | {'spoilt': term})

        return dataclasses.replace(
            method, phases=(dataclasses.replace(phase, objective=objective), *method.phases[1:])
        )

    config = tiny_config(source_epochs=1, adapt_epochs=1)
    config.checkpoint.every_steps = 2
    with pytest.raises(
        FloatingPointError,
        match=r'^step 4 \(phase source\): spoilt not finite; the last checkpoint is of step 2\. ',
    ):
        trainer.train(config, tmp_path, edit=spoilt)
    assert last_checkpoint(tmp_path).meta['position']['step'] == 2


def test_finished_run_is_loaded_in_one_line(finished, tmp_path):
    import jreid

    embed, config = jreid.load_run(finished)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 16, 3), dtype=np.uint8)
    features = embed(images)
    assert features.shape == (5, config.method.matching_width)
    np.testing.assert_allclose(embed(images[2:3])[0], features[2], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='expected uint8'):
        embed(images[:, :16])
    with pytest.raises(FileNotFoundError, match='holds no run'):
        jreid.load_run(finished / 'labels')
    with pytest.raises(ValueError, match="checkpoint is 'bst'; expected 'last', 'best' or 'auto'"):
        jreid.load_run(finished, checkpoint='bst')
    for i in range(2):
        Image.fromarray(images[i]).save(tmp_path / f'{i}.png')
    paths = [str(tmp_path / f'{i}.png') for i in range(2)]
    np.testing.assert_array_equal(embed(paths), embed(images[:2]))
    np.testing.assert_array_equal(embed(np.array(paths)), embed(paths))
    np.testing.assert_array_equal(embed(paths[0]), embed(paths[:1]))


def test_best_checkpoint_is_kept_and_evaluated(tiny_config, tmp_path):
    """Chosen by the source's test split, among the last phase's epochs; kept although later ones
    follow.
    """
    config = tiny_config()
    config.evaluation.select = 'best'
    config.checkpoint.keep = 1
    trainer.train(config, tmp_path)
    checkpoints = Checkpoints(tmp_path / 'checkpoints', scored=True, read_only=True)
    records = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    scores = [
        (record['source_mAP'], record['step']) for record in records if 'source_mAP' in record
    ]
    assert len(scores) == 4
    best = checkpoints.best()
    assert best is not None
    assert {step: score for score, step in scores}[best // 10] == max(scores)[0]
