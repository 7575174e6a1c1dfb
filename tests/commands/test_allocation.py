import os
import subprocess
import sys

import pytest

from jreid.commands import allocation

# Threads that take and free 100 MB in turns, as steps do; what they fault after the first rounds.
# glibc alone: no JAX, no numpy.
PROGRAM = """
import ctypes, resource, sys, threading
if len(sys.argv) == 1:
    from jreid.commands import allocation
    allocation.start_again([__file__, 'again'])
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def rounds(count):
    for _ in range(count):
        block = libc.malloc(100_000_000)
        ctypes.memset(block, 1, 100_000_000)
        libc.free(block)
def turn(count):
    thread = threading.Thread(target=rounds, args=(count,))
    thread.start()
    thread.join()
turn(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
turn(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    sys.platform != 'linux' or 'glibc' not in os.confstr('CS_GNU_LIBC_VERSION'),
    reason='settings of glibc',
)
def test_memory_of_a_step_is_not_taken_afresh_by_the_next(tmp_path):
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    environment = {
        **os.environ,
        'PYTHONPATH': str(os.path.dirname(os.path.dirname(allocation.__file__))),
    }
    environment.pop('GLIBC_TUNABLES', None)
    faults = {}
    for name, given in (
        ('kept', allocation.tunables(accelerated=False)),
        ('plain', 'glibc.malloc.hugetlb=0'),
    ):
        done = subprocess.run(
            [sys.executable, program, 'again'],
            env={**environment, 'GLIBC_TUNABLES': given},
            capture_output=True,
            text=True,
            check=True,
        )
        faults[name] = int(done.stdout)
    assert faults['kept'] < 100 < 10_000 < faults['plain'], faults
    started_again = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=True
    )
    assert int(started_again.stdout) < 10_000


def test_an_accelerators_host_keeps_heaps_of_threads():
    assert allocation.tunables(accelerated=True) == 'glibc.malloc.hugetlb=1'
