"""SIGTERM and Ctrl-C: what is kept, what is said, and that a stopped run goes on as it was."""

import dataclasses
import functools
import json
import logging
import os
import signal
import threading

import numpy as np
import pytest
from test_train import last_checkpoint, same_runs
from toy import toy

from jreid.commands import console
from jreid.training import loop, stopping

SHORT = functools.partial(toy, epochs=(1, 2))


@pytest.fixture
def config(tiny_config):
    return tiny_config()


def stop_at(monkeypatch, name, number):
    """Sends SIGTERM to this process before the n-th call of a method of the run."""
    original, calls = getattr(loop.Run, name), []

    def method(self, *arguments):
        calls.append(name)
        if len(calls) == number:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(loop.Run, name, method)


def test_sigterm_saves_and_the_run_goes_on_as_it_was(config, short_toy_run, tmp_path, monkeypatch):
    stopped = tmp_path / 'stopped'
    for name, number in (('_account', 3), ('refresh', 1), ('after_epoch', 2)):
        with monkeypatch.context() as patch, stopping.on_sigterm():
            stop_at(patch, name, number)
            with pytest.raises(stopping.Stopped, match='checkpoint of step') as told:
                loop.train(config, stopped, edit=SHORT)
        assert not stopping.asked()
        step = int(str(told.value).split('step ')[1].split()[0])
        assert last_checkpoint(stopped).tree['state']['step'] == step
        assert not (stopped / 'summary.json').exists()
    loop.train(config, stopped, edit=SHORT)
    same_runs(short_toy_run, stopped)


def test_only_the_first_sigterm_is_taken_and_only_inside():
    before = signal.getsignal(signal.SIGTERM)
    with stopping.on_sigterm():
        signal.raise_signal(signal.SIGTERM)
        assert stopping.asked()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before
    assert not stopping.asked()


def test_other_threads_leave_signals_alone():
    seen = []

    def inside():
        with stopping.on_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


def test_the_process_ends_at_once_with_the_signals_status(monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(os, '_exit', ended.append)
    monkeypatch.setattr(logging, 'shutdown', lambda: ended.append('logs'))
    console.stop('stopped; go on', signal.SIGINT)
    console.stop('stopped; go on', signal.SIGTERM)
    assert ended == ['logs', 130, 'logs', 143]
    assert capsys.readouterr().err == 'stopped; go on\n' * 2


def useless(method):
    """The toy, whose first refresh says that its labels are of no use."""
    method = SHORT(method)

    def refresh(params, state, source, target, context):
        made = method.refresh(params, state, source, target, context)
        first = (context.labels < 0).all()
        return dataclasses.replace(made, useless=bool(first))

    return dataclasses.replace(method, refresh=refresh)


def test_labels_of_no_use_train_nothing_until_the_next_refresh(config, tmp_path):
    summary = loop.train(config, tmp_path, edit=useless)
    assert summary['steps'] == 6 + 6
    assert summary['images_seen'] == 6 * 16 + 6 * 32
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    steps = [record['step'] for record in map(json.loads, lines) if record['kind'] == 'train']
    assert steps == sorted(set(steps))
    assert max(steps) == 12
    memory = last_checkpoint(tmp_path).tree['state']['state']['memory']
    assert np.asarray(memory['updates']) == 6
