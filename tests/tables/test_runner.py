"""Processes of a table: their last words, locks, and the states of their folders."""

import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jreid.tables import catalogue, jobs, runner


def processed(folder, code, words=()):
    """Runs Python's `code` as a command of a table, without the time of a check."""
    start = [sys.executable, '-S', '-c', code, *words].copy
    bar = SimpleNamespace(set_postfix_str=lambda text: None)
    runner._process(jobs.Command('train', ()), folder, lambda command: start(), bar)


def test_a_command_is_one_of_jreid():
    words = runner.program(jobs.Command('train', ('--config=demo', '--workdir=a b')))
    assert words[1:] == ['-m', 'jreid.commands.cli', 'train', '--config=demo', '--workdir=a b']


@pytest.mark.parametrize(
    ('code', 'message'),
    [
        ('import sys; print("step 3", flush=True); sys.exit("out of luck")', 'out of luck'),
        ('import sys; sys.exit(3)', 'exit status 3'),
        (
            'import os; print("step 4", flush=True); os.kill(os.getpid(), 9)',
            'killed by signal 9; last line: step 4',
        ),
    ],
)
def test_a_failed_process_leaves_its_last_words(tmp_path, monkeypatch, code, message):
    monkeypatch.setattr(runner, 'POLL', 0.01)
    with pytest.raises(RuntimeError, match=re.escape(f'{message} (see {tmp_path / "log.txt"})')):
        processed(tmp_path, code)
    assert (tmp_path / runner.FAILED).read_text() == f'{message}\n'
    processed(tmp_path, 'print("better")')
    assert not (tmp_path / runner.FAILED).exists()
    assert (tmp_path / runner.LOG).read_text().endswith('better\n')


def test_an_interrupted_table_ends_its_process(tmp_path, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.time, 'sleep', interrupt)
    started = []
    opened = subprocess.Popen
    monkeypatch.setattr(
        runner.subprocess,
        'Popen',
        lambda *of, **more: started.append(opened(*of, **more)) or started[0],
    )
    with pytest.raises(KeyboardInterrupt):
        processed(tmp_path, 'import time; time.sleep(60)')
    assert started[0].returncode == -signal.SIGTERM
    assert not (tmp_path / runner.FAILED).exists()


def test_a_step_that_another_process_does_is_awaited(tmp_path, monkeypatch):
    """Nothing is run then: its mark is there."""
    step = jobs.Step(tmp_path / 'teacher', jobs.Command('train', ()), 'done')
    lock, shown = runner._lock(step.folder), []
    assert lock.__enter__()

    def other_ends(seconds):
        (step.folder / 'done').touch()
        lock.__exit__(None, None, None)

    monkeypatch.setattr(runner.time, 'sleep', other_ends)
    bar = SimpleNamespace(set_postfix_str=shown.append)
    runner._prepare(step, start=None, bar=bar)
    assert shown == [f'waiting for {step.folder}']


def test_states_of_a_job_and_a_run_that_ends_without_its_summary(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, 'POLL', 0.01)
    (planned, *_), _ = jobs.plan(
        [catalogue.get('dien-1')], workdir=tmp_path, pairs=['demo'], seeds=(0,)
    )
    states = [runner.state(planned)]
    (planned.folder / 'checkpoints').mkdir(parents=True)
    states.append(runner.state(planned))
    (planned.folder / runner.FAILED).touch()
    states.append(runner.state(planned))

    def start(command):
        return [sys.executable, '-S', '-c', '']

    (failure,) = runner.run_all([planned], start=start, progress=False).values()
    assert failure.startswith(f'the run ended without {planned.folder / "summary.json"}; see ')
    (planned.folder / 'config.json').write_text(planned.config.to_json_best_effort())
    (planned.folder / 'summary.json').write_text('{}')
    states.append(runner.state(planned))
    assert runner.run_all([planned], start=None, progress=False) == {}
    assert states == ['to run', 'begun', 'failed', 'finished']
