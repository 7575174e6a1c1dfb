"""Runs a table's jobs, each in a process of its own.

A job that fails is reported and the next one begins. A finished job is not run again.
"""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

from jreid.run.config import FREE, flat_config
from jreid.tables.jobs import Command, Job, Step

log = logging.getLogger('jreid')

LOG = 'log.txt'
FAILED = 'failed.txt'
POLL = 0.5
"""Seconds between two checks of a running process."""

Program = Callable[[Command], list[str]]


def program(command: Command) -> list[str]:
    """Returns the words that start a command."""
    return [sys.executable, '-m', 'jreid.commands.cli', command.name, *command.arguments]


def finished(job: Job) -> bool:
    """Returns whether the job's folder holds its finished run.

    Raises:
      ValueError: the training's folder holds a run of another config; the message names the fields
        that differ.
    """
    if difference := other_config(job):
        raise ValueError(
            f'{job.training} holds a finished run of another config ({difference}); choose another'
            ' --workdir or remove it'
        )
    return (job.folder / 'summary.json').is_file()


def other_config(job: Job) -> str:
    """Names the first fields in which a finished run's config differs from the job's.

    Returns:
      The message, or '' where no field differs or the training's folder holds no finished run.
    """
    if not (job.training / 'summary.json').is_file():
        return ''
    old = flat_config(json.loads((job.training / 'config.json').read_text()))
    new = flat_config(json.loads(job.config.to_json_best_effort()))
    differing = [
        name
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name) and not name.startswith(FREE)
    ]
    return '; '.join(
        f'{name}: {old.get(name)!r} there, {new.get(name)!r} now' for name in differing[:3]
    )


def state(job: Job) -> str:
    """Returns 'finished', 'failed', 'begun' or 'to run'."""
    if finished(job):
        return 'finished'
    if (job.folder / FAILED).is_file():
        return 'failed'
    return 'begun' if (job.folder / 'checkpoints').is_dir() else 'to run'


def run_all(
    jobs: Sequence[Job], *, start: Program = program, progress: bool = True
) -> dict[pathlib.Path, str]:
    """Runs the jobs that are not finished.

    Returns:
      folder -> reason, for the runs that failed or that another process is running.
    """
    failures: dict[pathlib.Path, str] = {}
    with tqdm(
        total=len(jobs),
        desc='runs',
        unit='run',
        disable=None if progress else True,
        dynamic_ncols=True,
    ) as bar:
        for job in jobs:
            bar.set_description(job.label)
            try:
                if not finished(job):
                    _run(job, start, bar)
            except (OSError, RuntimeError, ValueError) as error:
                failures[job.folder] = str(error)
                tqdm.write(f'{job.label}: {error}', file=sys.stderr)
            bar.update()
    return failures


def _run(job: Job, start: Program, bar: tqdm) -> None:
    for step in job.steps:
        _prepare(step, start, bar)
    with _lock(job.folder) as locked:
        if not locked:
            raise RuntimeError(f'another process is running {job.folder}')
        if not finished(job):
            _process(job.command, job.folder, start, bar)
            if not (job.folder / 'summary.json').is_file():
                raise RuntimeError(
                    f'the run ended without {job.folder / "summary.json"}; see {job.folder / LOG}'
                )


def _prepare(step: Step, start: Program, bar: tqdm) -> None:
    """Does a step that several runs wait for, unless another process does it first."""
    while True:
        with _lock(step.folder) as locked:
            if locked:
                if not (step.folder / step.done).is_file():
                    _process(step.command, step.folder, start, bar)
                    (step.folder / step.done).touch()
                return
        bar.set_postfix_str(f'waiting for {step.folder}')
        time.sleep(POLL)


def _process(command: Command, folder: pathlib.Path, start: Program, bar: tqdm) -> None:
    """Runs a command to its end and keeps its output in `log.txt`.

    Raises:
      RuntimeError: the command failed; `failed.txt` keeps the last line of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).unlink(missing_ok=True)
    with open(folder / LOG, 'ab') as out:
        start_of_log = out.tell()
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(
                path for path in (_root(), os.environ.get('PYTHONPATH', '')) if path
            ),
        }
        process = subprocess.Popen(
            start(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        try:
            while process.poll() is None:
                bar.set_postfix_str(_last_line(folder / LOG, start_of_log)[:60])
                time.sleep(POLL)
        finally:
            # Interrupted: the next time the run continues from its last checkpoint.
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        message = _last_line(folder / LOG, start_of_log) or f'exit status {process.returncode}'
        if process.returncode < 0:
            message = f'killed by signal {-process.returncode}; last line: {message}'
        (folder / FAILED).write_text(message + '\n')
        raise RuntimeError(f'{message} (see {folder / LOG})')


def _last_line(path: pathlib.Path, start: int) -> str:
    """Reads the last line, or the last state of a progress bar, after byte `start`."""
    with open(path, 'rb') as file:
        file.seek(max(start, path.stat().st_size - 2000))
        text = file.read().decode(errors='replace').replace('\r', '\n')
    lines = [line.strip() for line in text.split('\n') if line.strip()]
    return lines[-1] if lines else ''


def _root() -> str:
    """Returns the folder that holds `jreid`, for a program started elsewhere."""
    return str(pathlib.Path(__file__).parents[2].absolute())


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[bool]:
    """Locks a folder against other tables, and yields whether the lock was free.

    The lock ends with the body, or with the process, however that ends. Its file is not the one
    with which a run locks its folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.reproduce.lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
