"""Blocks of work on all cores, with their results in turn."""

import collections
import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from jreid.files import cores

# Each thread holds blocks of its own.
_MOST = 8

_LOCK = threading.Lock()
# Of the process, as BLAS's threads are: who holds them to one, and what they were before the first.
_HOLDERS: list[object] = []
_BEFORE: list[Any] = []

T = TypeVar('T')
R = TypeVar('R')


def in_turn(
    function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None
) -> Iterator[R]:
    """Yields function(item) of every item, in order, computed by several threads.

    NumPy lets other threads run while it sorts, copies and multiplies. Items are taken by the
    calling thread, one ahead of those in work, so memory holds `threads` + 1 of them. Meanwhile
    products of NumPy take one thread each.

    Args:
      function: it must not write to what another item reads.
      threads: by default the cores that this process may use, 8 at most; with 1 there are none.
    """
    threads = threads or min(cores(), _MOST)
    items = iter(items)
    first = list(itertools.islice(items, min(threads, 2)))
    items = itertools.chain(first, items)
    # One item, of a small problem, has all threads of BLAS to itself.
    if len(first) < 2:
        yield from map(function, items)
        return
    # Threads of BLAS inside these only wait for each other: re-ranking took 1.5 times as long.
    with _one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[Future[R]] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Holds BLAS to one thread, in the whole process, until the last of those that ask has left.

    They may leave in another order than they came: generators do, and threads of the user.
    """
    me = object()
    with _LOCK:
        if not _HOLDERS:
            _BEFORE.append(_libraries().limit(limits=1, user_api='blas'))
        _HOLDERS.append(me)
    try:
        yield
    finally:
        with _LOCK:
            _HOLDERS.remove(me)
            if not _HOLDERS:
                _BEFORE.pop().restore_original_limits()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Returns the loaded libraries, which take milliseconds to find."""
    return ThreadpoolController()
