"""One, two and four devices, and two processes, train alike: losses, pseudo labels, files.

The toy system shows all of it; DMTNet that its own statistics, clusters and losses do not depend on
devices or processes. The processes are forked from one that has imported everything and touched no
device, so that a start costs no import.
"""

import functools
import json
import multiprocessing
import os
import pathlib
import socket
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(['pytest', 'jreid.training.loop', 'jax.experimental.multihost_utils'])


def work(
    output: pathlib.Path,
    environment: dict[str, str],
    config: dict,
    workdir: pathlib.Path,
    stop: int,
    system: str,
    cluster: tuple[str, int, int] | None,
) -> None:
    """Trains as the config says, in a process of its own.

    Args:
      output: file of what it prints.
      environment: variables to set before a device is touched.
      stop: N > 0 for dying after N checkpoints, all together; -1 - N for an error in process N
        alone, at the first refresh.
      system: 'toy', or the config's own.
      cluster: coordinator, processes, number of this one; None for one process.
    """
    with open(output, 'w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    os.chdir(output.parent)
    import jax
    from jax._src import xla_bridge

    assert not xla_bridge.backends_are_initialized()

    jax.config.update('jax_compilation_cache_dir', str(ROOT / '.jax_cache'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    from jreid.engine import sharding

    if cluster:
        sharding.connect(*cluster)
    from jreid.run.config import to_config
    from jreid.training import loop
    from jreid.training.progress import Progress

    save, after_epoch, count = Progress.save, loop.Run.after_epoch, 0

    def checked(self):
        assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(self.state))
        after_epoch(self)

    def dies(self, **options):
        nonlocal count
        save(self, **options)
        count += 1
        if count == stop:
            multihost_utils.sync_global_devices('the last one alive')
            os._exit(9)

    if stop > 0:
        from jax.experimental import multihost_utils

        Progress.save = dies
    loop.Run.after_epoch = checked
    if stop < 0 and jax.process_index() == -stop - 1:
        loop.Run.refresh = fails
    options = {}
    if system == 'toy':
        sys.path.append(str(ROOT / 'tests'))
        from toy import toy

        options['edit'] = functools.partial(toy, epochs=(1, 2))
    with sharding.stopping_together():
        loop.train(to_config(config), workdir, **options)
    if cluster:
        jax.distributed.shutdown()  # what Python's exit does, which a fork leaves out


def fails(self):
    raise OSError('this host cannot read its disk')


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def start(config, workdir, *, devices=1, processes=1, stop=0, disks=None):
    """Starts processes that train; the caller ends them.

    Args:
      disks: a folder per process, for the run and for decoded images, instead of one for all.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    asked = json.loads(config.to_json_best_effort())
    system = asked.pop('system')
    # The settings of this process (conftest's quick compilation) hold for those too.
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={devices}'
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'OMP_NUM_THREADS': '1', 'XLA_FLAGS': flags}
    coordinator = f'127.0.0.1:{free_port()}'
    started = []
    for number in range(processes):
        cache = {'JREID_CACHE': str(disks[number] / 'cache')} if disks else {}
        arguments = (
            workdir / f'output-{number}.txt',
            environment | cache,
            asked,
            disks[number] / 'run' if disks else workdir,
            stop,
            system,
            (coordinator, processes, number) if processes > 1 else None,
        )
        started.append(FORKS.Process(target=work, args=arguments))
        started[-1].start()
    return started


def code_of(process, seconds=None):
    """The exit code of a process that ends within so many seconds."""
    process.join(seconds)
    assert process.exitcode is not None, f'it goes on after {seconds} seconds'
    return process.exitcode


def end(started):
    for process in started:
        process.kill()
        process.join()


def run(config, workdir, *, processes=1, stop=0, **options):
    """Train in processes of their own; returns what they said."""
    started = start(config, workdir, processes=processes, stop=stop, **options)
    try:
        codes = [code_of(process) for process in started]
    finally:
        end(started)
    told = ''.join(
        (workdir / f'output-{number}.txt').read_text()[-3000:] for number in range(processes)
    )
    assert set(codes) == ({9} if stop else {0}), told
    return told


both_systems = pytest.mark.parametrize('system', ['toy', 'dmtnet'], indirect=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('devices')


@pytest.fixture
def system(request):
    return getattr(request, 'param', 'toy')


@pytest.fixture
def runs(folder, system):
    return folder / system


@pytest.fixture
def config(tiny_config, system):
    config = tiny_config(source_epochs=1, adapt_epochs=2, relabel_every=1, learning_rate=1e-3)
    config.train.log_every = 1
    config.model.options = {'widths': (8, 16)}
    with config.unlocked():
        config.system = system
    return config


@pytest.fixture
def alone(runs, config):
    """The run of one process on one device that the others are compared with."""
    if not (runs / 'alone').exists():
        run(config, runs / 'alone')
    return runs / 'alone'


def assert_same_run(one, two):
    records = [
        [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
        for folder in (one, two)
    ]
    assert [(r['step'], r['kind'], r['phase']) for r in records[0]] == [
        (r['step'], r['kind'], r['phase']) for r in records[1]
    ]
    assert sum(r['kind'] == 'train' for r in records[0]) == 18  # 6 steps per epoch
    for a, b in zip(*records, strict=True):
        assert a.keys() == b.keys()
        if a['kind'] == 'train':
            for name in set(a) - {'step', 'kind', 'phase', 'gradient_norm', 'source_accuracy'}:
                if name in a:
                    np.testing.assert_allclose(
                        b[name], a[name], rtol=1e-5, atol=1e-5, err_msg=f'step {a["step"]}: {name}'
                    )
    labels = sorted(path.name for path in (one / 'labels').glob('target_*.csv'))
    assert labels == sorted(path.name for path in (two / 'labels').glob('target_*.csv'))
    assert labels
    for name in labels:
        assert (one / 'labels' / name).read_text() == (two / 'labels' / name).read_text(), name
    rows = [json.loads((folder / 'summary.json').read_text()) for folder in (one, two)]
    for row in ('source_only', 'adabn', 'adapted'):
        assert rows[0][row]['mAP'] == pytest.approx(rows[1][row]['mAP'], abs=0.5)


@pytest.mark.slow
@both_systems
def test_four_devices_train_as_one_also_with_the_images_on_them(alone, config, runs):
    config.data.loader = 'device'
    run(config, runs / 'four', devices=4)
    assert_same_run(alone, runs / 'four')
    assert json.loads((runs / 'four' / 'summary.json').read_text())['machine']['devices'] == 4


@pytest.mark.slow
@both_systems
def test_two_processes_train_as_one_also_when_killed_and_resumed(alone, config, runs):
    run(config, runs / 'two', processes=2, stop=2)
    assert not (runs / 'two' / 'summary.json').exists()
    told = run(config, runs / 'two', processes=2)
    assert_same_run(alone, runs / 'two')
    assert told.count('mAP   rank1') <= 1  # one table
    # one file per start, of the first process
    assert len(list((runs / 'two' / 'tensorboard').iterdir())) == 2


@pytest.mark.slow
def test_two_processes_with_two_disks_train_as_one_also_when_killed_and_resumed(
    alone, config, runs
):
    """The first one's disk holds the run; the other one's has the decoded images alone, and is
    told at the start what the checkpoint says.
    """
    disks = [runs / 'disks' / name for name in 'ab']
    run(config, runs / 'disks', processes=2, stop=2, disks=disks)
    assert list((disks[0] / 'run' / 'checkpoints').iterdir())
    run(config, runs / 'disks', processes=2, disks=disks)
    assert_same_run(alone, disks[0] / 'run')
    assert [path for path in (disks[1] / 'run').rglob('*') if path.is_file()] == []
    packs = [
        sorted(
            str(path.relative_to(disk)) for path in (disk / 'cache' / 'packs').rglob('images.npy')
        )
        for disk in disks
    ]
    assert packs[0] == packs[1] != []


@pytest.mark.slow
def test_run_goes_on_with_another_number_of_devices(alone, config, runs):
    run(config, runs / 'moved', devices=1, stop=2)
    run(config, runs / 'moved', devices=2)
    assert_same_run(alone, runs / 'moved')


def survivor_of(started, workdir, dying, seconds=60):
    """(exit code, what it said) of the other process, which must end within so many seconds."""
    other = 1 - dying
    code = code_of(started[other], seconds)
    return code, (workdir / f'output-{other}.txt').read_text()


@pytest.mark.slow
@pytest.mark.parametrize('dying', [0, 1])
def test_process_that_is_killed_stops_the_other_within_a_minute_and_the_run_goes_on_with_one(
    dying, alone, config, runs
):
    workdir = runs / f'killed-{dying}'
    config.checkpoint.every_steps = 2
    started = start(config, workdir, processes=2)
    try:
        until = time.monotonic() + 200
        while time.monotonic() < until and not list((workdir / 'labels').glob('target_*.csv')):
            assert started[dying].is_alive(), (workdir / f'output-{dying}.txt').read_text()[-3000:]
            time.sleep(0.05)
        started[dying].kill()
        code, told = survivor_of(started, workdir, dying)
    finally:
        end(started)
    assert code != 0
    assert 'another process ended first' in told or 'another task died' in told, told[-3000:]
    config.checkpoint.every_steps = 0
    run(config, workdir)
    assert_same_run(alone, workdir)


@pytest.mark.slow
def test_error_in_one_process_stops_the_other_within_a_minute(config, runs):
    started = start(config, runs / 'error', processes=2, stop=-2)
    try:
        assert code_of(started[1], 200) == 1
        code, told = survivor_of(started, runs / 'error', 1)
    finally:
        end(started)
    assert (
        'OSError: this host cannot read its disk' in (runs / 'error' / 'output-1.txt').read_text()
    )
    assert code != 0
    assert 'another process ended first' in told or 'another task died' in told, told[-3000:]
