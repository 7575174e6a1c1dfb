"""Checkpoints: which are kept, what is restored, and the faults they must stand: damaged files,
a full disk.
"""

import errno
import gc
import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import toy

from jreid.methods.contract import State
from jreid.run.checkpoints import CheckpointError, Checkpoints
from jreid.training import loop as trainer
from jreid.training.progress import Progress

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Orbax leaves coroutines and futures behind where a reader raises.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
]


@pytest.fixture(autouse=True)
def coroutines_collected():
    """What a reader that raised leaves behind is collected under this file's filter, not in a
    later test.
    """
    yield
    gc.collect()


def tree(value):
    return {
        'state': {
            'params': {'w': jnp.full((40, 50), float(value)), 'b': jnp.arange(3) + value},
            'state': State({}, {'bank': jnp.full(7, float(value))}),
        },
        'labels': np.full(5, value, np.int32),
    }


def fill(folder, numbers, **options):
    checkpoints = Checkpoints(folder, **options)
    for number in numbers:
        checkpoints.save(number, tree(number), {'position': number})
    return checkpoints


def restored(checkpoints, **options):
    return checkpoints.restore(lambda meta: tree(0), **options)


def same(found, number):
    assert (found.number, found.meta) == (number, {'position': number})
    assert jax.tree.structure(found.tree) == jax.tree.structure(tree(0))
    jax.tree.map(np.testing.assert_array_equal, found.tree, tree(number))


def damage(folder, how):
    """Break a checkpoint's files as a full disk, a pulled cable or a careless hand would."""
    files = sorted(
        (path for path in folder.rglob('*') if path.is_file()), key=lambda path: path.stat().st_size
    )
    data = [path for path in files if path.parent.name == 'd']
    if how == 'truncated':
        for path in data:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == 'bit flipped':
        content = bytearray(data[-1].read_bytes())
        content[len(content) // 2] ^= 0x10
        data[-1].write_bytes(bytes(content))
    elif how == 'emptied':
        for path in files:
            path.write_bytes(b'')
    elif how == 'meta removed':
        shutil.rmtree(folder / 'meta')
    elif how == 'tree removed':
        shutil.rmtree(folder / 'tree')
    elif how == 'meta half written':
        for path in (folder / 'meta').iterdir():
            path.write_text('{"position": ')
    else:
        raise AssertionError(how)


def test_nothing_saved_is_nothing_restored(tmp_path):
    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    assert restored(checkpoints) is None
    assert checkpoints.restore_model() is None
    assert checkpoints.numbers() == []


def test_latest_are_kept_and_the_last_is_restored(tmp_path):
    checkpoints = fill(tmp_path, [3, 7, 11, 12], keep=2)
    assert checkpoints.numbers() == [11, 12]
    same(restored(checkpoints), 12)
    same(restored(checkpoints, number=11), 11)
    same(restored(fill(tmp_path, [], keep=2)), 12)  # another process


def test_best_is_kept_beside_the_latest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, scored=True)
    for number, score in ((1, 0.2), (2, 0.9), (3, 0.4), (4, None), (5, 0.3), (6, None)):
        checkpoints.save(number, tree(number), {'position': number}, score=score)
    assert checkpoints.best() == 2
    assert checkpoints.numbers() == [2, 5, 6]
    same(restored(checkpoints), 6)
    reader = Checkpoints(tmp_path, scored=True, read_only=True)
    assert reader.best() == 2
    np.testing.assert_array_equal(reader.restore_model(number=2).tree['params']['b'], [2, 3, 4])


def test_checkpoint_of_another_network_is_no_damage_and_stays(tmp_path):
    checkpoints = fill(tmp_path, [1, 2])
    other = tree(0)
    other['state']['params']['w'] = jnp.zeros((40, 51))
    with pytest.raises(
        CheckpointError,
        match=(
            r'checkpoint 2 .* does not fit this run \(1 arrays differ: state/params/w: \(40, 50\)'
            r' there, \(40, 51\) now'
        ),
    ):
        checkpoints.restore(lambda meta: other)
    same(restored(checkpoints), 2)


def test_error_of_the_program_itself_is_not_taken_for_damage(tmp_path):
    checkpoints = fill(tmp_path, [1, 2])

    def template(meta):
        raise MemoryError

    with pytest.raises(MemoryError):
        checkpoints.restore(template)
    same(restored(checkpoints), 2)


FAULTS = [
    'truncated',
    'bit flipped',
    'emptied',
    'meta removed',
    'tree removed',
    'meta half written',
]


@pytest.mark.parametrize('how', FAULTS)
def test_damaged_latest_is_passed_over_and_its_number_can_be_written_again(how, tmp_path):
    fill(tmp_path / 'checkpoints', [1, 2, 3], keep=3).close()
    damage(tmp_path / 'checkpoints' / '3', how)
    checkpoints = Checkpoints(tmp_path / 'checkpoints', keep=3)
    with pytest.warns(UserWarning, match=r'cannot be read, trying the one before: checkpoint 3: '):
        found = restored(checkpoints)
    same(found, 2)
    assert checkpoints.numbers() == [1, 2]
    checkpoints.save(3, tree(3), {'position': 3})
    same(restored(checkpoints), 3)
    assert (tmp_path / 'damaged-checkpoint-3').is_dir()  # kept, for whoever wants to look
    # The same once more.
    checkpoints.close()
    damage(tmp_path / 'checkpoints' / '3', how)
    with pytest.warns(UserWarning, match='checkpoint 3'):
        same(restored(Checkpoints(tmp_path / 'checkpoints', keep=3)), 2)
    assert (tmp_path / 'damaged-checkpoint-3-2').is_dir()


@pytest.mark.parametrize('how', ['truncated', 'meta removed'])
def test_reading_a_run_passes_over_a_damaged_checkpoint_and_leaves_it_there(how, tmp_path):
    fill(tmp_path / 'checkpoints', [1, 2]).close()
    damage(tmp_path / 'checkpoints' / '2', how)
    with pytest.warns(UserWarning, match='checkpoint 2'):
        found = Checkpoints(tmp_path / 'checkpoints', read_only=True).restore_model()
    assert found.number == 1
    np.testing.assert_array_equal(found.tree['params']['b'], [1, 2, 3])
    assert (tmp_path / 'checkpoints' / '2').is_dir()
    assert not (tmp_path / 'damaged-checkpoint-2').exists()


def test_all_damaged_is_an_error_that_names_them_and_removes_nothing(tmp_path):
    fill(tmp_path / 'checkpoints', [1, 2]).close()
    for number in '12':
        damage(tmp_path / 'checkpoints' / number, 'truncated')
    with (
        pytest.warns(UserWarning, match='cannot be read'),
        pytest.raises(
            CheckpointError,
            match=(
                r'no checkpoint in .* can be read \(checkpoint 2: .*; checkpoint 1: .*remove the'
                r' folder'
            ),
        ),
    ):
        restored(Checkpoints(tmp_path / 'checkpoints'))
    with (
        pytest.warns(UserWarning, match='cannot be read'),
        pytest.raises(CheckpointError, match='checkpoint 1: '),
    ):
        Checkpoints(tmp_path / 'checkpoints', read_only=True).restore_model()
    assert {path.name for path in (tmp_path / 'checkpoints').iterdir()} == {'1', '2'}


def test_half_written_save_is_no_checkpoint(tmp_path):
    """What a kill in the middle of a save leaves: a folder under another name."""
    fill(tmp_path, [1]).close()
    shutil.copytree(tmp_path / '1', tmp_path / '2.orbax-checkpoint-tmp')
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.numbers() == [1]
    checkpoints.save(2, tree(2), {'position': 2})
    same(restored(checkpoints), 2)


def test_full_disk_is_told_with_the_checkpoints_that_are_intact(tmp_path, monkeypatch):
    checkpoints = fill(tmp_path, [1, 2], keep=2)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'mkdir', full)
        with pytest.raises(
            CheckpointError,
            match=(
                r'checkpoint 3 could not be written to .*: the disk is full; intact checkpoints:'
                r' 1, 2$'
            ),
        ):
            checkpoints.save(3, tree(3), {'position': 3})
    checkpoints.save(3, tree(3), {'position': 3})  # somebody made room
    assert checkpoints.numbers() == [2, 3]
    same(restored(checkpoints), 3)


@pytest.mark.parametrize('refusals', [3, 4])
def test_save_waits_for_the_threads_of_one_that_failed(refusals, tmp_path, monkeypatch):
    """They write into the folder that it has just cleared."""
    checkpoints = fill(tmp_path, [1], keep=2)
    original, left, waited = checkpoints._manager.save, refusals, []

    def save(*arguments, **options):
        nonlocal left
        if left:
            left -= 1
            raise FileExistsError(errno.EEXIST, 'File exists', '2.orbax-checkpoint-tmp')
        return original(*arguments, **options)

    monkeypatch.setattr(checkpoints._manager, 'save', save)
    own = types.SimpleNamespace(sleep=waited.append)  # Orbax's threads sleep too
    monkeypatch.setattr('jreid.run.checkpoints.time', own)
    if refusals > 3:
        with pytest.raises(CheckpointError, match=r'File exists.*intact checkpoints: 1$'):
            checkpoints.save(2, tree(2), {'position': 2})
        return
    checkpoints.save(2, tree(2), {'position': 2})
    same(restored(checkpoints), 2)
    assert waited == [0.2] * 3


LIMITED = """
    import resource, signal, sys
    import jax.numpy as jnp, numpy as np
    from jreid.run.checkpoints import CheckpointError, Checkpoints
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    checkpoints = Checkpoints(sys.argv[1])
    rng = np.random.default_rng(0)
    small, large = {'w': jnp.ones(10)}, {'w': jnp.asarray(rng.normal(size=300_000))}
    checkpoints.save(1, small, {})
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        checkpoints.save(2, large, {})
    except CheckpointError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(checkpoints.numbers())
    checkpoints.save(2, large, {})
    restored = checkpoints.restore(lambda meta: large).tree['w']
    print(checkpoints.numbers(), np.array_equal(restored, large['w']))
"""


def test_write_that_the_system_refuses_half_way_leaves_the_last_checkpoint(tmp_path):
    """Not simulated: the process may write no file beyond 100 kB, the checkpoint has 1.2 MB."""
    environment = {
        'PATH': '/usr/bin:/bin',
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(ROOT),
        'HOME': str(tmp_path),
    }
    command = [sys.executable, '-c', textwrap.dedent(LIMITED), str(tmp_path / 'checkpoints')]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    told, after, last = done.stdout.splitlines()
    assert told.startswith('checkpoint 2 could not be written to')
    assert told.endswith('intact checkpoints: 1')
    assert (after, last) == ('[1]', '[1, 2] True')


# -- a run --------------------------------------------------------------------------------------


def leaves(workdir):
    return jax.tree.leaves(
        Checkpoints(workdir / 'checkpoints', read_only=True).restore_model().tree
    )


@pytest.mark.slow
@pytest.mark.parametrize('how', ['truncated'])
def test_run_goes_on_from_the_checkpoint_before_a_damaged_one_and_ends_the_same(
    how, tiny_config, tmp_path, monkeypatch
):
    config = tiny_config(source_epochs=2, adapt_epochs=2)
    config.checkpoint.every_epochs = 1
    trainer.train(config, tmp_path / 'through', edit=toy)

    class Killed(BaseException):
        """Stands for a SIGKILL."""

    original = Progress.save
    count = 0

    def save(self, **options):
        nonlocal count
        original(self, **options)
        count += 1
        if count == 5:
            raise Killed

    workdir = tmp_path / 'damaged'
    with monkeypatch.context() as patch:
        patch.setattr(Progress, 'save', save)
        with pytest.raises(Killed):
            trainer.train(config, workdir, edit=toy)
    numbers = sorted((workdir / 'checkpoints').iterdir(), key=lambda path: int(path.name))
    damage(numbers[-1], how)
    with pytest.warns(UserWarning, match=f'checkpoint {numbers[-1].name}'):
        trainer.train(config, workdir, edit=toy)
    for a, b in zip(leaves(tmp_path / 'through'), leaves(workdir), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / 'through' / 'metrics.jsonl').read_bytes() == (
        workdir / 'metrics.jsonl'
    ).read_bytes()
    rows = [
        json.loads((tmp_path / run / 'summary.json').read_text()) for run in ('through', 'damaged')
    ]
    assert rows[0]['adapted'] == rows[1]['adapted']
