"""A run's folder: what a run that cannot begin leaves in it."""

import errno
import fcntl
import sys

import pytest

from jreid.data.cache import locked
from jreid.run.lock import alone
from jreid.training import loop


def failing(folder, write):
    """Fails in a run's folder after `write(folder)`."""
    with alone(folder):
        write(folder)
        raise ZeroDivisionError


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path):
    for folder in (tmp_path / 'runs' / 'new', tmp_path / 'old'):
        (tmp_path / 'old').mkdir(exist_ok=True)
        with pytest.raises(ZeroDivisionError):
            failing(folder, lambda at: (at / 'checkpoints' / '10').mkdir(parents=True))
    assert [path.name for path in tmp_path.iterdir()] == ['old']
    assert not any((tmp_path / 'old').iterdir())


def test_a_run_that_began_and_the_users_files_stay(tmp_path):
    with pytest.raises(ZeroDivisionError):
        failing(tmp_path / 'run', lambda at: (at / 'config.json').touch())
    assert (tmp_path / 'run' / 'config.json').is_file()
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'notes.txt').touch()
    with pytest.raises(ZeroDivisionError):
        failing(tmp_path / 'mine', lambda at: None)
    assert (tmp_path / 'mine' / 'notes.txt').is_file()


@pytest.mark.parametrize('fault', ['data', 'weights'])
def test_missing_sets_and_weights_leave_nothing(tiny_config, tmp_path, fault):
    config = tiny_config()
    if fault == 'data':
        config.data.target_root = str(tmp_path / 'nowhere')
    else:
        config.model.weights = str(tmp_path / 'none.pth')
    with pytest.raises((FileNotFoundError, ValueError)):
        loop.train(config, tmp_path / 'runs' / 'one')
    assert not any(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / 'file').write_text('x')
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'run'):
        with pytest.raises(NotADirectoryError, match='file is no folder'), alone(folder):
            pass


def without_locks(monkeypatch):
    """Lets the file system refuse locks, as some network file systems do."""

    def refuse(file, how):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', refuse)


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog):
    without_locks(monkeypatch)
    with alone(tmp_path / 'run'):
        assert 'see to it that one process alone trains there' in caplog.text
    caplog.clear()
    with locked(tmp_path / 'cache.lock') as held:
        assert not held
    assert f'{tmp_path} lies on a file system without locks' in caplog.text


def test_a_system_without_locks_is_used(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    with alone(tmp_path / 'run'), locked(tmp_path / 'cache.lock') as held:
        assert not held
    assert not any(tmp_path.iterdir())


def test_the_caches_lock_is_held_by_one(tmp_path):
    with locked(tmp_path / 'cache.lock') as held, open(tmp_path / 'cache.lock') as file:
        assert held
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(tmp_path / 'cache.lock') as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
