"""Counts the faults that jreid survives: kills, broken files, malicious pickles, full disks.

    python scripts/fault_figures.py --out OUT
    python scripts/fault_figures.py --out OUT --only images weights pickles

It calls the helpers of the tests, on more draws than the tests have time for, and prints the table
of `docs/performance.md`. Each part is a process of its own; OUT/faults.jsonl has a record after
each, and a part that has one of this commit is passed over, unless `--again PART` names it. On two
cores it takes about an hour, half of which are the runs of DMTNet that are killed.
"""

import argparse
import importlib
import os
import pathlib
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'scripts'), str(ROOT / 'tests')]

from device import runner  # noqa: E402
from device_check import commit  # noqa: E402

PARTS = {
    'images': ('files', 'images'),
    'weights': ('files', 'weights'),
    'pickles': ('files', 'pickles'),
    'others': ('files', 'others'),
    'checkpoints': ('checkpoints', 'broken'),
    'disk': ('checkpoints', 'full'),
    'devices': ('runs', 'devices'),
    'kills-toy': ('runs', 'kills_of_toy'),
    'kills-dmtnet': ('runs', 'kills_of_dmtnet'),
}
"""Name -> (module of scripts/faults, its function)."""


def main() -> int:
    """Runs the parts, or one as a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('faults'))
    parser.add_argument('--limit', type=float, default=7200, help='seconds for a part')
    parser.add_argument('--only', nargs='+', choices=tuple(PARTS), metavar='PART')
    parser.add_argument('--again', nargs='+', choices=tuple(PARTS), default=[], metavar='PART')
    parser.add_argument('--part', choices=tuple(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        runner.end_with_runner()
        module, function = PARTS[options.part]
        getattr(importlib.import_module(f'faults.{module}'), function)()
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parts = [
        runner.Stage(name, [sys.executable, __file__, '--part', name], options.limit)
        for name in options.only or PARTS
    ]
    # So that what an older commit found is never shown as this one's.
    about = {'commit': commit()}
    results = options.out / 'faults.jsonl'
    records = runner.run(parts, results, about=about, total=float('inf'), again=options.again)
    table = f'commit {about["commit"]}\n\n{runner.table(records, head="part")}'
    (options.out / 'faults.md').write_text(f'{table}\n')
    print(f'\n{table}')
    return 0 if all(record['status'] == 'passed' for record in records) else 1


if __name__ == '__main__':
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    sys.exit(main())
