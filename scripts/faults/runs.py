"""Parts: runs that are killed, and runs on other numbers of devices and processes."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tests' / 'training'))

import test_kill  # noqa: E402
import test_multi_device as several  # noqa: E402
from conftest import quick_to_compile  # noqa: E402
from device.rows import row  # noqa: E402
from test_train import same_runs  # noqa: E402
from tiny import tiny, write_domains  # noqa: E402

ROUNDS = 5
"""Runs of each system, each killed ten times."""


def _equal(compare: Callable[..., None], *folders: pathlib.Path) -> str:
    """Returns '' where two runs are the same, else where they differ."""
    try:
        compare(*folders)
    except AssertionError as error:
        return ' '.join(str(error).split())[:200] or 'they differ'
    return ''


def kills_of_toy() -> None:
    """Counts the kills that the toy system survives, which has all that the contract offers."""
    _kills('toy')


def kills_of_dmtnet() -> None:
    """Counts the kills that DMTNet survives."""
    _kills('dmtnet')


def _kills(system: str) -> None:
    killed, survived, doing, wrong = 0, 0, {}, []
    with tempfile.TemporaryDirectory() as name:
        people = pathlib.Path(name) / 'people'
        write_domains(people)
        config = tiny(people, source_epochs=2, adapt_epochs=2, relabel_every=1)
        config.checkpoint.every_steps = 2
        for seed in range(ROUNDS):
            folder = pathlib.Path(name) / str(seed)
            folder.mkdir()
            (folder / 'config.json').write_text(config.to_json_best_effort())
            command = [str(folder / 'config.json'), str(folder), str(seed), system]
            environment = {
                **os.environ,
                'PYTHONPATH': str(ROOT),
                'JAX_PLATFORMS': 'cpu',
                'OMP_NUM_THREADS': '1',
                'XLA_FLAGS': quick_to_compile(),
                'JREID_CACHE': str(people / 'cache'),
            }
            subprocess.run(
                [sys.executable, test_kill.__file__, *command],
                env=environment,
                check=True,
                cwd=folder,
            )
            events = json.loads((folder / 'killed.json').read_text())
            killed += len(events)
            for event in events:
                kind = event.split()[0]
                doing[kind] = doing.get(kind, 0) + 1
            if off := _equal(same_runs, folder / 'through', folder / 'killed'):
                wrong.append(off)
            else:
                survived += len(events)
            print(f'{system}, round {seed}: {len(events)} kills, {off or "the same"}', flush=True)
    row(
        f'{system}: kills at random moments survived, bit for bit',
        f'{survived} of {killed}',
        passed=survived == killed and killed >= ROUNDS * 9,
        note='; '.join([f'while in {k}: {n}' for k, n in sorted(doing.items())] + wrong),
    )


def devices() -> None:
    """Compares runs of one process on one device with runs on several, and of two processes."""
    os.environ['XLA_FLAGS'] = quick_to_compile()
    with tempfile.TemporaryDirectory() as name:
        people = pathlib.Path(name) / 'people'
        write_domains(people)
        os.environ['JREID_CACHE'] = str(people / 'cache')
        for system in ('toy', 'dmtnet'):
            config = tiny(
                people, source_epochs=1, adapt_epochs=2, relabel_every=1, learning_rate=1e-3
            )
            config.train.log_every = 1
            with config.unlocked():
                config.system = system
            runs = pathlib.Path(name) / system
            several.run(config, runs / 'alone')
            for count in (2, 4, 8):
                _compared(system, f'{count} devices', config, runs, devices=count)
            _compared(system, '2 processes', config, runs, processes=2)
            several.run(config, runs / 'resumed', processes=2, stop=2)
            _compared(system, '1 process after 2 that were killed', config, runs, at='resumed')


def _compared(
    system: str, what: str, config: Any, runs: pathlib.Path, *, at: str = '', **options: int
) -> None:
    """Trains in subprocesses and compares with the run of one device."""
    folder = runs / (at or what.replace(' ', '-'))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            several.run(config, folder, **options)
            off = _equal(several.assert_same_run, runs / 'alone', folder)
        except AssertionError as error:
            off = f'it did not end well: {" ".join(str(error).split())[-200:]}'
    row(
        f'{system}, {what}: losses to 1e-5, equal labels',
        'no' if off else 'yes',
        passed=not off,
        note=off,
    )
