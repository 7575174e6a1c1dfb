"""Stops a run when its machine is taken away: SIGTERM, as Slurm and docker stop send it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

_request = threading.Event()


class Stopped(Exception):  # noqa: N818 - no error: the run ends as it was asked to
    """The run was asked to stop, and its checkpoint is written; the message names it."""


def asked() -> bool:
    """Returns whether the run was asked to stop."""
    return _request.is_set()


@contextlib.contextmanager
def on_sigterm() -> Iterator[None]:
    """Lets a run inside stop after its step, with a checkpoint, when SIGTERM comes.

    The run raises `Stopped`. A second SIGTERM ends the process at once, as it does outside. Only
    the main thread can take signals; in others nothing changes.
    """

    def handle(number: int, frame: Any) -> None:
        del number, frame
        _request.set()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _request.clear()
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _request.clear()
