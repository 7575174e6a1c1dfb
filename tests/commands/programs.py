"""Runs programs of jreid in forks of one process that has imported the heavy libraries.

A program that starts afresh takes seconds to import JAX; a fork of this process starts at once. The
process reads one job per line from its standard input, and writes the exit code of each.
"""

import atexit
import gc
import importlib
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import traceback
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMPORTED = ('jax', 'tensorboard.summary.writer.record_writer', 'jreid.training.loop')


class Programs:
    """Starts the process with the first program."""

    def __init__(self):
        self._process = None

    def __call__(self, module, *words, cwd=ROOT, **environment):
        """Runs `python -m module words` and returns its exit code and its output."""
        if self._process is None:
            # A program that set malloc would start afresh.
            environment_of_all = {
                **os.environ,
                'PYTHONPATH': str(ROOT),
                'JAX_PLATFORMS': 'cpu',
                'JREID_MALLOC': 'system',
                'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.jax_cache'),
                'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
            }
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment_of_all,
            )
        with tempfile.NamedTemporaryFile('r', errors='replace') as output:
            job = {
                'module': module,
                'words': list(map(str, words)),
                'cwd': str(cwd),
                'environment': {name: str(value) for name, value in environment.items()},
                'output': output.name,
            }
            self._process.stdin.write(json.dumps(job) + '\n')
            self._process.stdin.flush()
            code = self._process.stdout.readline()
            assert code, 'the process that runs programs has ended'
            return int(code), output.read()

    def close(self):
        """Ends the process."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait(20)


def _serve():
    """Forks once per job and returns the job in the fork; ends with the standard input."""
    gc.freeze()  # a collection in a fork would copy the memory that it shares
    for line in sys.stdin:
        with warnings.catch_warnings():
            # JAX warns of its threads, which run from its first computation on.
            warnings.simplefilter('ignore')
            process = os.fork()
        if not process:
            return json.loads(line)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def _run(job):
    """Runs the job's program as `python -m` does and returns its exit code."""
    file = os.open(job['output'], os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job['cwd'])
    os.environ.update(job['environment'])
    sys.argv = [job['module'], *job['words']]
    sys.path[0] = job['cwd']
    try:
        runpy.run_module(job['module'], run_name='__main__', alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == '__main__':
    for name in IMPORTED:
        importlib.import_module(name)
    code = _run(_serve())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # To take down the shared memory of the imports would take longer than most programs.
    os._exit(code)
