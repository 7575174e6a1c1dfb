"""Checks and times jreid on an accelerator, in calls of under eight minutes.

    python scripts/device_check.py --out OUT                     # on a GPU or TPU
    python scripts/device_check.py --platform=cpu --small        # the same stages, tiny, anywhere

It needs this repository, JAX, Flax, optax, NumPy, SciPy, scikit-learn, Pillow, tqdm and jaxtyping;
no network and no TensorFlow, whose import is blocked. PyTorch is compared with where it is
installed. The demo's stage reads a config, for which ml_collections must be there: carry its wheel
to a machine without it (`pip download --no-deps ml_collections`, then `pip install --target`).

The stages stand in the order of their value, each is a process of its own with a time limit, and
OUT/device_check.jsonl has a record after each. Those before the demo took nine minutes on an H200:
what one call has no time for, or cuts off, the next one runs. Called again with the same file,
stages that have a record are passed over; `--again NAME` runs them anew. OUT/device_check.md has
the table that is printed at the end, OUT/device_check.log what the stages printed. The exit status
is 0 where all stages that were asked for have passed or cannot run here.

What the device computes is compared with what a process without it computes on the CPU.
"""

import argparse
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'scripts'), str(ROOT / 'tests')]

from device import runner  # noqa: E402
from xla_flags import quick_to_compile  # noqa: E402

STAGES = {
    'machine': ('machine', 'show', 60),
    'losses': ('gradients', 'check', 150),
    'retrieval': ('ranking', 'check', 150),
    'resnet50-bf16': ('training', 'bfloat16', 150),
    'resnet50-f32': ('training', 'float32', 100),
    'pytorch': ('training', 'pytorch', 60),
    'compilations': ('training', 'compilations', 45),
    'market': ('market', 'run', 180),
    'demo': ('demo', 'run', 150),
}
"""Name -> (module of scripts/device, its function, seconds)."""
TOTAL = 450
"""Seconds of a call, under eight minutes."""


def main() -> int:
    """Runs the stages, or one as a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('device_check'))
    parser.add_argument('--platform', default='', help="of JAX: 'cpu', 'cuda'; its own choice else")
    parser.add_argument('--small', action='store_true', help='tiny sizes, to try the script itself')
    parser.add_argument(
        '--total', type=float, help='seconds for all stages (default: 450; with --small 1,800)'
    )
    parser.add_argument('--only', nargs='+', choices=tuple(STAGES), metavar='STAGE')
    parser.add_argument('--again', nargs='+', choices=tuple(STAGES), default=[], metavar='STAGE')
    parser.add_argument(
        '--resume', type=pathlib.Path, help='results of an earlier call, put before those of OUT'
    )
    parser.add_argument('--stage', choices=tuple(STAGES), help=argparse.SUPPRESS)
    parser.add_argument('--host', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage(options.stage, options.small, options.host)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / 'device_check.jsonl'
    if options.resume and options.resume.resolve() != results.resolve():
        if not options.resume.is_file():
            parser.error(f'--resume: there is no file {options.resume}')
        runner.merge(options.resume, results)
    about = {'commit': commit(), 'platform': options.platform, 'small': options.small}
    # So that a stage, which is in a session of its own, ends with this process.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    total = options.total or (1800 if options.small else TOTAL)
    begun = time.monotonic()
    asked = stages(options)
    records = runner.run(asked, results, about=about, total=total, again=options.again)
    # Also those that --only left out.
    found = runner.known(results, about)
    shown = [found[name] for name in STAGES if name in found]
    table = (
        f'`python scripts/device_check.py {" ".join(sys.argv[1:])}`, commit {about["commit"]},'
        f' {time.monotonic() - begun:.0f} s\n\n{runner.table(shown)}\n'
    )
    (options.out / 'device_check.md').write_text(table)
    print(f'\n{table}')
    done = [record for record in records if record['status'] in ('passed', 'skipped')]
    return 0 if len(done) == len(asked) else 1


def stages(options: argparse.Namespace) -> list[runner.Stage]:
    """Returns the stages that were asked for, as commands."""
    # JAX takes the platform from the environment before its import.
    environment = {'JAX_PLATFORMS': options.platform} if options.platform else {}
    # With it, what XLA has tried for one program's convolutions is known for the next one's.
    cache = pathlib.Path(tempfile.gettempdir()) / 'jreid-device-check'
    environment['JAX_COMPILATION_CACHE_DIR'] = os.environ.get(
        'JAX_COMPILATION_CACHE_DIR', str(cache)
    )
    small, patience = [], 1
    if options.small:
        # Perhaps beside other work, on one core: compile quickly, and wait long.
        small, patience = ['--small'], 5
        environment['XLA_FLAGS'] = os.environ.get('XLA_FLAGS') or quick_to_compile()
    return [
        runner.Stage(
            name,
            [sys.executable, __file__, '--stage', name, *small],
            patience * seconds,
            environment,
        )
        for name, (_, _, seconds) in STAGES.items()
        if name in (options.only or STAGES)
    ]


def stage(name: str, small: bool, host: str | None) -> None:
    """Runs one stage in this process; with `host`, only what the CPU computes, to that file."""
    if not host:
        runner.end_with_runner()
    sys.modules['tensorflow'] = None  # type: ignore[assignment]  # an import of it fails
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), *_search()]))
    module, function, _ = STAGES[name]
    loaded = importlib.import_module(f'device.{module}')
    if host:
        from device import beside

        beside.save(loaded.measure(small), pathlib.Path(host))
    else:
        getattr(loaded, function)(small)


def _search() -> list[str]:
    return os.environ.get('PYTHONPATH', '').split(os.pathsep)


def commit() -> str:
    """Returns the commit of the repository, '' where git does not know."""
    try:
        asked = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--abbrev=10']
        return subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ''


if __name__ == '__main__':
    sys.exit(main())
