"""Runs a table's jobs, each in a process of its own: one that fails is reported and the next one
begins; a finished one is not run again.
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

import jreid
from jreid.run.config import FREE, flat_config
from jreid.tables.jobs import Command, Job, Step

log = logging.getLogger('jreid')

LOG = 'log.txt'
FAILED = 'failed.txt'
POLL = 0.5
"""Seconds between two looks at a running process."""

Program = Callable[[Command], list[str]]


def program(command: Command) -> list[str]:
    """The words that start a command."""
    return [sys.executable, '-m', command.module, *command.arguments]


def finished(job: Job) -> bool:
    """Whether the job's folder holds its run, finished.

    Raises:
      ValueError: it holds a run of another config; names the fields that differ.
    """
    if not (job.folder / 'summary.json').is_file():
        return False
    if told := other_config(job):
        raise ValueError(
            f'{job.folder} holds a finished run of another config ({told}); choose another'
            ' --workdir or remove it'
        )
    return True


def other_config(job: Job) -> str:
    """Where the finished run in the job's folder has another config than the job: the first
    fields that differ; '' where none does or no run is finished.
    """
    if not (job.folder / 'summary.json').is_file():
        return ''
    old = flat_config(json.loads((job.folder / 'config.json').read_text()))
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
    """'finished', 'failed', 'begun' or 'to run'."""
    if finished(job):
        return 'finished'
    if (job.folder / FAILED).is_file():
        return 'failed'
    return 'begun' if (job.folder / 'checkpoints').is_dir() else 'to run'


def run_all(
    jobs: Sequence[Job], *, start: Program = program, progress: bool = True
) -> dict[pathlib.Path, str]:
    """Run what is not finished; folder -> what went wrong, for those that failed or that another
    process is running.
    """
    wrong: dict[pathlib.Path, str] = {}
    with tqdm(
        total=len(jobs), desc='runs', unit='run', disable=not progress, dynamic_ncols=True
    ) as bar:
        for job in jobs:
            bar.set_description(job.label)
            try:
                if not finished(job):
                    _run(job, start, bar)
            except (OSError, RuntimeError, ValueError) as error:
                wrong[job.folder] = str(error)
                tqdm.write(f'{job.label}: {error}', file=sys.stderr)
            bar.update()
    return wrong


def _run(job: Job, start: Program, bar: tqdm) -> None:
    for step in job.steps:
        _prepare(step, start, bar)
    with _alone(job.folder) as free:
        if not free:
            raise RuntimeError(f'another process is running {job.folder}')
        if not finished(job):
            _process(job.command, job.folder, start, bar)
            if not (job.folder / 'summary.json').is_file():
                raise RuntimeError(
                    f'the run ended without {job.folder / "summary.json"}; see {job.folder / LOG}'
                )


def _prepare(step: Step, start: Program, bar: tqdm) -> None:
    """A step that several runs wait for is done once, by whoever comes first."""
    while True:
        with _alone(step.folder) as free:
            if free:
                if not (step.folder / step.done).is_file():
                    _process(step.command, step.folder, start, bar)
                    (step.folder / step.done).touch()
                return
        bar.set_postfix_str(f'waiting for {step.folder}')
        time.sleep(POLL)


def _process(command: Command, folder: pathlib.Path, start: Program, bar: tqdm) -> None:
    """Run a command to its end with what it says in `log.txt`.

    Raises:
      RuntimeError: it failed; the last line that it said is kept in `failed.txt`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).unlink(missing_ok=True)
    with open(folder / LOG, 'ab') as out:
        began = out.tell()
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
                bar.set_postfix_str(_last_line(folder / LOG, began)[:60])
                time.sleep(POLL)
        finally:
            # interrupted: the run goes on from its last checkpoint the next time
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        said = _last_line(folder / LOG, began) or f'exit status {process.returncode}'
        if process.returncode < 0:
            said = f'killed by signal {-process.returncode}; last line: {said}'
        (folder / FAILED).write_text(said + '\n')
        raise RuntimeError(f'{said} (see {folder / LOG})')


def _last_line(path: pathlib.Path, began: int) -> str:
    """The last line, or the last state of a progress bar, after byte `began`."""
    with open(path, 'rb') as file:
        file.seek(max(began, path.stat().st_size - 2000))
        text = file.read().decode(errors='replace').replace('\r', '\n')
    lines = [line.strip() for line in text.split('\n') if line.strip()]
    return lines[-1] if lines else ''


def _root() -> str:
    """The folder that holds `jreid`, for a program started elsewhere."""
    return str(pathlib.Path(jreid.__file__).parent.parent.absolute())


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[bool]:
    """Whether no other table works in `folder`, for as long as the context lasts; the lock ends
    with the process, however that ends.

    It has a name of its own: the run itself locks its folder too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.reproduce.lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
