"""How glibc's malloc serves XLA's CPU backend."""

import os
import pathlib
import sys
from collections.abc import Sequence

# Pages of 2 MB; and one heap that gives nothing back: malloc maps blocks of over 32 MB afresh at every call, and in threads' heaps all that is over 64 MB.
HUGE_PAGES = ('glibc.malloc.hugetlb=1',)
KEPT_HEAP = ('glibc.malloc.arena_max=1', 'glibc.malloc.mmap_max=0', f'glibc.malloc.trim_threshold={2**40}')


def tunables(*, accelerated: bool) -> str:
    """The value of GLIBC_TUNABLES; with an accelerator the steps' temporaries are not in this memory, and loaders' threads keep heaps of their own."""
    return ':'.join(HUGE_PAGES if accelerated else HUGE_PAGES + KEPT_HEAP)


def start_again(arguments: Sequence[str]) -> None:
    """Start this Python again with `arguments` and malloc set for steps, which it reads from the environment only; nothing where GLIBC_TUNABLES is set.

    XLA's CPU backend takes fresh memory for every step's temporaries and gives it back after. The kernel clears it page by page: with small pages that
    cost as much time as the arithmetic (EfficientNet-Lite0 at 128x64, batch 32: 106,000 faults a step against 1,100, 1.7 times the images a CPU second).
    On a virtual machine whose host takes free memory away, large pages too are slow to come back (ResNet-50 at 256x128, batch 8: 300 faults of up to
    5 ms a step of 1.5 s), so the memory is kept.
    """
    if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        value = tunables(accelerated=pathlib.Path('/dev/nvidiactl').exists())
        os.execve(sys.executable, [sys.executable, *arguments], {**os.environ, 'GLIBC_TUNABLES': value})
