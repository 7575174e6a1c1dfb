"""Kills a run (SIGKILL) ten times at random moments: it ends like an uninterrupted run.

It is killed in every phase, while saving and while re-labelling; every array, the position, metrics
and label files are compared. The toy system shows it in the default suite, DMTNet in the slow one.

Run as a program, this file trains in processes of its own and kills them. They are forked from one
that has imported everything and touched no device, so that a start costs no import.
"""

import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WATCHED = ('begin_phase', 'refresh', 'epoch', 'save', '_report', 'finish')
DRAWN = (
    'save',
    'save',
    'save',
    'refresh',
    'refresh',
    '_report',
    'begin_phase',
    'any',
    'any',
    'any',
)
"""What is being done at the ten random moments."""


def announced(pipe: int) -> None:
    """Have the trainer write a line to a pipe whenever it begins something; the line is the same
    in every run that does it.
    """
    from jreid.training.loop import Run
    from jreid.training.progress import Progress

    def watch(owner, name):
        original = getattr(owner, name)

        def method(self, *arguments, **options):
            p = self.position
            place = {
                'save': f'{int(self.state.step)}.{p.refreshes}.{p.started}.{p.step}',
                '_report': str(arguments[:1]),
            }.get(name, '')
            os.write(pipe, f'{name} {p.phase} {p.epoch} {place}\n'.encode())
            return original(self, *arguments, **options)

        setattr(owner, name, method)

    for name in WATCHED:
        watch(Progress if name == 'save' else Run, name)


def end_with(parent: int) -> None:
    """End this process when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def started(config: str, workdir: str, system: str):
    """(process id, file of its announcements) of a forked run, which ends with this process."""
    reading, writing = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child:
        os.close(writing)
        return child, os.fdopen(reading)
    status = 1
    try:
        os.close(reading)
        threading.Thread(target=end_with, args=(parent,), daemon=True).start()
        from jreid.run.config import to_config
        from jreid.train import train

        announced(writing)
        options = {}
        if system == 'toy':
            from toy import toy

            options['edit'] = functools.partial(toy, epochs=(1, 2))
        train(to_config(json.loads(pathlib.Path(config).read_text())), workdir, **options)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def moments(
    times: list[tuple[float, str]], end: float, rng: random.Random
) -> list[tuple[int, float]]:
    """(number of an event, seconds after it) of the ten kills, in order; `times` are the events
    of a run that went through.
    """
    bounds = [*(at for at, _ in times), end]
    drawn = []
    for what in DRAWN:
        number = rng.choice(
            [i for i, (_, name) in enumerate(times) if what in ('any', name.split()[0])]
        )
        drawn.append((number, rng.uniform(0, bounds[number + 1] - bounds[number])))
    return sorted(drawn)


def work(config: str, folder: str, seed: str, system: str) -> None:
    """Train through in `folder`/through, and with kills in `folder`/killed; write what was
    killed when.
    """
    import jax
    from jax._src import xla_bridge

    import jreid.training.loop  # noqa: F401

    sys.path.append(str(ROOT / 'tests'))
    import toy  # noqa: F401

    jax.config.update('jax_compilation_cache_dir', str(ROOT / '.jax_cache'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    assert not xla_bridge.backends_are_initialized()
    child, events = started(config, f'{folder}/through', system)
    times = [(time.monotonic(), line.strip()) for line in events]
    end = time.monotonic()
    assert os.waitpid(child, 0)[1] == 0
    order = {name: number for number, (_, name) in enumerate(times)}
    assert len(order) == len(times), 'two events have the same name'
    killed = []
    for number, offset in moments(times, end, random.Random(int(seed))):
        child, events = started(config, f'{folder}/killed', system)
        # What the run before has saved is not done again; the first event at or after the drawn one
        # is then the moment.
        at = next(
            (order[line.strip()] for line in events if order.get(line.strip(), -1) >= number), None
        )
        if at == number:
            time.sleep(offset)
        os.kill(child, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
            killed.append(times[at if at is not None else number][1])
    child, events = started(config, f'{folder}/killed', system)
    for _ in events:
        pass
    assert os.waitpid(child, 0)[1] == 0
    pathlib.Path(folder, 'killed.json').write_text(json.dumps(killed))


@pytest.mark.slow
@pytest.mark.parametrize('system', ['toy', 'dmtnet'])
def test_run_killed_at_ten_random_moments_ends_as_one_that_ran_through(
    system, people, tiny_config, tmp_path
):
    from test_train import same_runs

    config = tiny_config(source_epochs=1, adapt_epochs=2, relabel_every=1)
    config.model.options = {'widths': (8, 16)}
    config.augment.erase_probability = 0.5
    config.checkpoint.every_steps = 2
    (tmp_path / 'config.json').write_text(config.to_json_best_effort())
    environment = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'JAX_PLATFORMS': 'cpu',
        'OMP_NUM_THREADS': '1',
        'JREID_CACHE': str(people / 'cache'),
    }
    command = [sys.executable, __file__, str(tmp_path / 'config.json'), str(tmp_path), '7', system]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    killed = json.loads((tmp_path / 'killed.json').read_text())
    assert len(killed) == len(DRAWN)
    assert {'save', 'refresh'} <= {event.split()[0] for event in killed}
    assert {event.split()[1] for event in killed} >= {'0', '1'}
    same_runs(tmp_path / 'through', tmp_path / 'killed')


if __name__ == '__main__':
    work(*sys.argv[1:])
