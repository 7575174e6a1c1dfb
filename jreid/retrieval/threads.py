"""Blocks of work on all cores, with their results in turn."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from jreid.files import cores

# Each thread holds blocks of its own.
_MOST = 8

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
    if threads == 1:
        yield from map(function, items)
        return
    # Threads of BLAS inside these only wait for each other: re-ranking took 1.5 times as long.
    with threadpool_limits(limits=1, user_api='blas'), ThreadPoolExecutor(threads) as pool:
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
