"""Worker processes that share the writing of a tree.

They are started as `python -m jreid.synthetic.worker` instead of by multiprocessing. This works
from scripts without a main guard, from notebooks and from daemonic processes, and is safe beside
JAX's threads. It also gives each worker one BLAS thread; more would only spin.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable

from jreid.files import cores
from jreid.synthetic.plan import TreeParameters

_DEFAULT_WORKERS = 2
_ONE_THREAD = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')


def default_workers() -> int:
    """Returns two, or one where this process has a single core or no interpreter to start."""
    return min(_DEFAULT_WORKERS, cores()) if sys.executable else 1


def _start(
    folder: pathlib.Path, parameters: TreeParameters, part: int, parts: int
) -> subprocess.Popen:
    job = json.dumps(
        {
            'folder': str(folder),
            'part': part,
            'parts': parts,
            'parameters': dataclasses.asdict(parameters),
        }
    )
    package_root = str(pathlib.Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (package_root, os.environ.get('PYTHONPATH'))))
    return subprocess.Popen(
        [sys.executable, '-m', 'jreid.synthetic.worker', job],
        env={**os.environ, **_ONE_THREAD, 'PYTHONPATH': search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_parts(
    folder: pathlib.Path, parameters: TreeParameters, *, workers: int, done: Callable[[int], object]
) -> None:
    """Writes all images with this many processes.

    Args:
      done: called with the number of images of each batch.

    Raises:
      RuntimeError: a worker fails.
    """
    running: list[subprocess.Popen] = []
    errors: dict[int, str] = {}
    lock = threading.Lock()

    def follow(part: int, process: subprocess.Popen) -> None:
        for line in process.stdout or ():
            with lock:
                done(int(line))

    def collect(part: int, process: subprocess.Popen) -> None:
        errors[part] = process.stderr.read() if process.stderr else ''

    try:
        running.extend(_start(folder, parameters, part, workers) for part in range(workers))
        threads = [
            threading.Thread(target=target, args=(part, process))
            for part, process in enumerate(running)
            for target in (follow, collect)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in filter(None, (process.stdout, process.stderr)):
                with contextlib.suppress(OSError):
                    stream.close()
    failed = [part for part, code in enumerate(codes) if code]
    if failed:
        raise RuntimeError(
            f'worker {failed[0]} of {workers} ended with {codes[failed[0]]}; try workers=1. Its'
            f' output:\n{errors[failed[0]].strip()[-2000:]}'
        )
