"""How glibc's malloc serves XLA's CPU backend."""

import os
import pathlib
import sys

# Pages of 2 MB; and one heap that gives nothing back: malloc maps blocks of over 32 MB afresh at
# every call, and in threads' heaps all that is over 64 MB.
HUGE_PAGES = ('glibc.malloc.hugetlb=1',)
KEPT_HEAP = (
    'glibc.malloc.arena_max=1',
    'glibc.malloc.mmap_max=0',
    f'glibc.malloc.trim_threshold={2**40}',
)


def tunables(*, accelerated: bool) -> str:
    """The value of GLIBC_TUNABLES; with an accelerator the steps' temporaries are not in this
    memory, and loaders' threads keep heaps of their own.
    """
    return ':'.join(HUGE_PAGES if accelerated else HUGE_PAGES + KEPT_HEAP)


def start_again() -> None:
    """Starts this program again, its interpreter options included, with malloc set for training
    steps.

    malloc reads its settings from the environment, at the start only. Nothing happens where
    GLIBC_TUNABLES is set already, where JREID_MALLOC is 'system', or on other systems than Linux.

    XLA's CPU backend takes fresh memory for every step's temporaries and gives it back after. The
    kernel clears it page by page: with small pages that costs as much time as the arithmetic
    (EfficientNet-Lite0 at 128x64, batch 32: 106,000 faults per step against 1,100, 1.7 times the
    images per CPU second). On a virtual machine whose host takes free memory away, large pages are
    slow to come back too (ResNet-50 at 256x128, batch 8: 300 faults of up to 5 ms in a step of
    1.5 s), so the memory is kept.
    """
    chosen = 'GLIBC_TUNABLES' in os.environ or os.environ.get('JREID_MALLOC') == 'system'
    if sys.platform == 'linux' and not chosen:
        value = tunables(accelerated=pathlib.Path('/dev/nvidiactl').exists())
        environment = {**os.environ, 'GLIBC_TUNABLES': value}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
