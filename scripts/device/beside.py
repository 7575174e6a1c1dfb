"""Compares what the device computes with what a process without it computes on the CPU."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ENTRY = pathlib.Path(__file__).resolve().parents[1] / 'device_check.py'
SECONDS = 'seconds: '
"""Begins the names of times among the arrays."""

Arrays = dict[str, np.ndarray]


def timed(found: Arrays, name: str, run: Callable[[], Any], *, twice: bool = False) -> Any:
    """Returns what `run` gives, and notes its seconds.

    Args:
      twice: run it a second time and note that, so that compilation does not count; the first is
        noted as '... , first'.
    """
    for note in (', first', '') if twice else ('',):
        begun = time.perf_counter()
        result = run()
        found[f'{SECONDS}{name}{note}'] = np.asarray(time.perf_counter() - begun)
    return result


def save(found: Arrays, path: pathlib.Path) -> None:
    """Writes arrays to a file."""
    with open(path, 'wb') as file:
        np.savez(file, **found)


@contextlib.contextmanager
def host(stage: str, small: bool) -> Iterator[Callable[[], Arrays]]:
    """Starts the stage's `measure` in a process without an accelerator.

    Gives a function that waits for it and returns its arrays. A stage that takes times calls it
    before it measures, so that the two do not share the cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'host.npz'
        command = [sys.executable, str(ENTRY), '--stage', stage, '--host', str(path)]
        process = subprocess.Popen(
            [*command, *(['--small'] if small else [])],
            env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
        )

        def wait() -> Arrays:
            if code := process.wait():
                raise RuntimeError(f'the process on the CPU ended with {code}, see the log')
            with np.load(path) as loaded:
                return dict(loaded)

        try:
            yield wait
        finally:
            process.kill()
            process.wait()


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference, relative to the largest expected value where that is over 1.

    Infinite values must stand in the same places.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float('inf')
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0)))
    return float(np.abs(found[finite] - expected[finite]).max(initial=0)) / scale


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns |found - expected| / |expected|, of gradients as one vector."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12))
