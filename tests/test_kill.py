"""A run that is really killed, thrice, at random moments, and started again ends as one that ran through."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest
from test_train import same_runs

ROOT = pathlib.Path(__file__).resolve().parent.parent

CONFIG = """
import json
from jreid.position import to_config

def get_config(variant='dmtnet'):
    return to_config(json.loads({text!r}))
"""


@pytest.fixture
def start(people, tmp_path):
    """Function from a run's folder to the process that trains in it; none outlives the test."""
    processes = []

    def launch(workdir):
        processes.append(launched(tmp_path, people, workdir))
        return processes[-1]

    yield launch
    for process in processes:
        process.kill()
        process.wait()


def launched(folder, people, workdir):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'JREID_CACHE': str(people / 'cache')}
    environment |= {'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.jax_cache'), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5'}
    command = [sys.executable, '-m', 'jreid.main', f'--config={folder}/mine/tiny.py', f'--workdir={workdir}']
    with open(folder / 'output.txt', 'a') as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=folder)


def wait_for(path, process, seconds):
    until = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.slow
def test_run_killed_at_random_moments_ends_as_one_that_ran_through(start, tiny_config, tmp_path):
    config = tiny_config(source_epochs=2, adapt_epochs=2, relabel_every=1)
    config.checkpoint.every_steps = 2
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'tiny.py').write_text(CONFIG.format(text=json.dumps(json.loads(config.to_json_best_effort()))))
    whole = start(tmp_path / 'through')
    wait_for(tmp_path / 'through' / 'config.json', whole, 120)
    begun = time.monotonic()
    assert whole.wait() == 0, (tmp_path / 'output.txt').read_text()[-3000:]
    length = time.monotonic() - begun
    rng, killed = random.Random(7), 0
    for _ in range(3):
        process = start(tmp_path / 'killed')
        wait_for(tmp_path / 'killed' / 'config.json', process, 120)
        try:
            process.wait(timeout=rng.uniform(0.2, 0.8) * length)
        except subprocess.TimeoutExpired:
            process.kill()  # SIGKILL: nothing can be cleaned up
            process.wait()
            killed += 1
    assert killed >= 1
    assert start(tmp_path / 'killed').wait() == 0, (tmp_path / 'output.txt').read_text()[-3000:]
    same_runs(tmp_path / 'through', tmp_path / 'killed')
