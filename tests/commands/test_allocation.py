"""malloc's settings reach a program that starts again, and nothing else of it changes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import jreid
from jreid.commands import allocation

pytestmark = pytest.mark.skipif(
    sys.platform != 'linux' or 'glibc' not in os.confstr('CS_GNU_LIBC_VERSION'),
    reason='settings of glibc',
)

# Threads that take and free 100 MB in turns, as steps do; prints the page faults after the first
# rounds. glibc alone: no JAX, no numpy.
FAULTS = """
import ctypes, resource, sys, threading
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
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

# Prints how the interpreter was started.
STATE = """
import json, os, sys
from jreid.commands import allocation
allocation.start_again()
print(json.dumps({
    'argv': sys.argv[1:],
    'tunables': os.environ.get('GLIBC_TUNABLES'),
    'utf8': sys.flags.utf8_mode,
    'optimize': sys.flags.optimize,
    'warnings': sys.warnoptions,
    'options': sys._xoptions,
}))
"""


def run(*words, cwd=None, **environment):
    """Runs Python with these words and returns its output."""
    root = str(pathlib.Path(jreid.__file__).parents[1])
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ('GLIBC_TUNABLES', 'JREID_MALLOC')
    }
    return subprocess.run(
        [sys.executable, *words],
        env={**inherited, 'PYTHONPATH': root, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_memory_of_a_step_is_not_taken_afresh_by_the_next():
    faults = {
        name: int(run('-S', '-c', FAULTS, GLIBC_TUNABLES=tunables))
        for name, tunables in (
            ('kept', allocation.tunables(accelerated=False)),
            ('plain', 'glibc.malloc.hugetlb=0'),
        )
    }
    assert faults['kept'] < 100 < 10_000 < faults['plain'], faults


def state(*words, **environment):
    """Runs a program that starts again and returns how it was started then."""
    return json.loads(run(*words, **environment))


def test_a_program_that_starts_again_keeps_its_interpreter_options(tmp_path):
    program = tmp_path / 'program.py'
    program.write_text(STATE)
    options = ['-X', 'utf8', '-X', 'faulthandler', '-W', 'error::DeprecationWarning', '-O']
    accelerated = pathlib.Path('/dev/nvidiactl').exists()
    expected = {
        'argv': ['--config=a b', '-x'],
        'tunables': allocation.tunables(accelerated=accelerated),
        'utf8': 1,
        'optimize': 1,
        'warnings': ['error::DeprecationWarning'],
        'options': {'utf8': True, 'faulthandler': True},
    }
    assert state(*options, str(program), '--config=a b', '-x') == expected
    # As a module, which `python -m jreid.main` is.
    assert state(*options, '-m', 'program', '--config=a b', '-x', cwd=tmp_path) == expected


def test_the_switch_and_settings_of_ones_own_leave_a_program_alone(tmp_path):
    program = tmp_path / 'program.py'
    program.write_text(STATE)
    assert state(str(program), JREID_MALLOC='system')['tunables'] is None
    own = 'glibc.malloc.hugetlb=0'
    assert state(str(program), GLIBC_TUNABLES=own)['tunables'] == own


@pytest.mark.parametrize(
    ('set_before', 'starts'),
    [({}, True), ({'JREID_MALLOC': 'system'}, False), ({'GLIBC_TUNABLES': 'a=1'}, False)],
)
def test_the_same_words_are_started_again(monkeypatch, set_before, starts):
    started = []
    monkeypatch.setattr(os, 'execve', lambda *of: started.append(of))
    monkeypatch.setattr(os, 'environ', {'HOME': '/h', **set_before})
    monkeypatch.setattr(sys, 'orig_argv', ['python', '-O', '-m', 'jreid.main', '--config=a b'])
    allocation.start_again()
    accelerated = pathlib.Path('/dev/nvidiactl').exists()
    environment = {'HOME': '/h', 'GLIBC_TUNABLES': allocation.tunables(accelerated=accelerated)}
    words = [sys.executable, '-O', '-m', 'jreid.main', '--config=a b']
    assert started == [(sys.executable, words, environment)] * starts


def test_training_starts_again_before_it_imports_jax():
    code = (
        'import os, sys\n'
        'def execve(program, words, environment):\n'
        "    print('jax' in sys.modules, words[-1], environment['GLIBC_TUNABLES'] != '')\n"
        '    sys.exit()\n'
        'os.execve = execve\n'
        'from jreid.commands import cli\n'
        'cli.main()\n'
    )
    assert run('-c', code, 'train', '--config=x').split() == ['False', '--config=x', 'True']


def test_an_accelerators_host_keeps_heaps_of_threads():
    assert allocation.tunables(accelerated=True) == 'glibc.malloc.hugetlb=1'
