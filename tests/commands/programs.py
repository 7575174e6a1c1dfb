"""Runs programs of jreid in forks of one process that has imported the heavy libraries.

A program that starts afresh takes seconds to import JAX; a fork of this process starts at once. The
process reads one job per line from its standard input, and writes the exit code of each.
"""

import importlib
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
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
    for line in sys.stdin:
        with warnings.catch_warnings():
            # JAX warns of its threads, which run from its first computation on.
            warnings.simplefilter('ignore')
            process = os.fork()
        if not process:
            return json.loads(line)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


if __name__ == '__main__':
    for name in IMPORTED:
        importlib.import_module(name)
    job = _serve()
    file = os.open(job['output'], os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job['cwd'])
    os.environ.update(job['environment'])
    sys.argv = [job['module'], *job['words']]
    sys.path[0] = job['cwd']
    runpy.run_module(job['module'], run_name='__main__', alter_sys=True)
