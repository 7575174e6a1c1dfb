"""`jreid reproduce`: runs, resumes or collects the rows of the papers' tables."""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence

from jreid.commands import console
from jreid.tables import catalogue, jobs, results, runner, writing

EPILOG = """further arguments of the form --config.field=value hold for every run,
e.g. --config.data.root=/data/reid; --teacher.field=value for the teachers' runs

examples:
  %(prog)s --list
  %(prog)s --table=dien-1 --pair=demo --seeds=3
  %(prog)s --table=dien-1 --pair=duke2market --workdir=runs/tables --seeds=3 \\
      --config.data.root=/data/reid --shard=1/2
"""


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid reproduce') -> int:
    """Runs the command; returns 0, 1 where a row failed, or 2 where the arguments are wrong."""
    arguments, rest = _parser(prog).parse_known_args(words)
    fields = [word for word in rest if word.startswith('--config.')]
    teacher_fields = [
        word.replace('--teacher.', '--config.', 1) for word in rest if word.startswith('--teacher.')
    ]
    if unknown := [word for word in rest if not word.startswith(('--config.', '--teacher.'))]:
        print(
            f'{prog}: unknown arguments {" ".join(unknown)}; fields are set as'
            ' --config.field=value',
            file=sys.stderr,
        )
        return 2
    if arguments.list:
        print(listing())
        return 0
    console.show_log()
    try:
        if not arguments.table:
            raise ValueError('--table is missing; --list prints those there are')
        names = (
            list(catalogue.tables())
            if 'all' in arguments.table
            else [name for text in arguments.table for name in text.split(',')]
        )
        tables = [catalogue.get(name) for name in names]
        seeds = _seeds(arguments.seeds)
        planned, without = jobs.plan(
            tables,
            workdir=arguments.workdir,
            pairs=arguments.pair,
            seeds=seeds,
            rows=arguments.row,
            fields=fields,
            teacher_fields=teacher_fields,
        )
        shard = _shard(planned, arguments.shard)
        if arguments.dry_run:
            print(_dry_run(shard, without))
            return 0
    except (FileNotFoundError, ValueError) as error:
        print(f'{prog}: {error}', file=sys.stderr)
        return 2
    failures: dict[pathlib.Path, str] = {}
    other_configs: dict[pathlib.Path, str] = {}
    if arguments.collect:
        messages = {job.folder: runner.other_config(job) for job in planned}
        other_configs = {folder: message for folder, message in messages.items() if message}
    else:
        failures = runner.run_all(shard)
    for table in tables:
        for pair in arguments.pair or table.pairs:
            lines = results.lines(
                table,
                workdir=arguments.workdir,
                pair=pair,
                seeds=seeds,
                rows=arguments.row,
                without=without,
                failures=failures,
                other_configs=other_configs,
            )
            if lines:
                _write(table, lines, arguments.workdir / 'tables')
    if failures:
        print(
            f'{len(failures)} of {len(shard)} runs failed:',
            *(f'  {folder}: {reason}' for folder, reason in failures.items()),
            sep='\n',
            file=sys.stderr,
        )
    return 1 if failures else 0


def listing() -> str:
    """Lists all tables with their pairs and rows."""
    lines = []
    for table in catalogue.tables().values():
        lines.append(f'{table.name}: {table.title}; pairs {", ".join(table.pairs)}')
        lines += [f'    {row.name:<30} {row.variant or "- " + row.reason}' for row in table.rows]
    return '\n'.join(lines)


def _write(table: catalogue.Table, lines: Sequence[results.Line], folder: pathlib.Path) -> None:
    """Writes a table's files and prints the table."""
    files = writing.write(folder, table, lines)
    print(writing.markdown(table, lines))
    print('written:', ', '.join(map(str, files)), end='\n\n')


def _dry_run(planned: Sequence[jobs.Job], without: Mapping[tuple[str, str], str]) -> str:
    """Lists the commands that would run, each once, and the rows without a run."""
    lines: list[str] = []
    listed: set[jobs.Command] = set()
    for job in planned:
        steps = [
            (step.command, 'done' if (step.folder / step.done).is_file() else 'before')
            for step in job.steps
        ]
        for command, state in [*steps, (job.command, runner.state(job))]:
            if command not in listed:
                listed.add(command)
                lines.append(f'{state:<9} {command}')
    lines += [f'no run    {pair}, {row}: {reason}' for (pair, row), reason in without.items()]
    return '\n'.join(lines)


def _seeds(text: str) -> list[int]:
    """Reads the seeds: '3' -> 0, 1, 2; '4,7' -> 4, 7."""
    try:
        numbers = [int(part) for part in text.split(',') if part]
    except ValueError:
        numbers = []
    if (
        not numbers
        or min(numbers) < 0
        or (len(numbers) == 1 and ',' not in text and numbers[0] < 1)
    ):
        raise ValueError(
            f"--seeds is '{text}'; expected a number of seeds (3 for 0, 1, 2) or seeds with commas"
            ' (4,7; one alone: 4,)'
        )
    return list(range(numbers[0])) if ',' not in text else numbers


def _shard(planned: Sequence[jobs.Job], text: str) -> list[jobs.Job]:
    """Returns the i-th of n parts of the runs, i from 1; `text` is 'i/n'."""
    i, _, n = text.partition('/')
    if not (i.isdigit() and n.isdigit()) or not 1 <= int(i) <= int(n):
        raise ValueError(f"--shard is '{text}'; expected i/n with i from 1 to n, e.g. 1/4")
    # Rows of one training stay together, so that no part waits for, or begins, another's.
    trainings = list(dict.fromkeys(job.training for job in planned))
    own = set(trainings[int(i) - 1 :: int(n)])
    return [job for job in planned if job.training in own]


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(
            "Runs, resumes or collects the rows of the papers' tables; writes Markdown, CSV and"
            ' HTML to WORKDIR/tables.'
        ),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        '--table',
        action='append',
        default=[],
        metavar='NAME',
        help="a table, several with commas, or 'all'; see --list",
    )
    parser.add_argument(
        '--pair',
        action='append',
        default=[],
        metavar='PAIR',
        help="a config in configs/ or a file; default: the table's own pairs",
    )
    parser.add_argument(
        '--row',
        action='append',
        default=[],
        metavar='ROW',
        help='only this row or variant; may be repeated',
    )
    parser.add_argument(
        '--workdir',
        type=pathlib.Path,
        default=pathlib.Path('runs/tables'),
        help='runs lie in WORKDIR/PAIR/VARIANT/SEED; default: runs/tables',
    )
    parser.add_argument(
        '--seeds',
        default='1',
        help=(
            'number of seeds, or seeds with commas (default: 1); where a set has random splits,'
            ' also their numbers'
        ),
    )
    parser.add_argument(
        '--shard',
        default='1/1',
        metavar='I/N',
        help='run only the I-th of N parts; the tables show whatever is finished',
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--list', action='store_true', help='print all tables and rows')
    mode.add_argument('--dry-run', action='store_true', help='print what would run')
    mode.add_argument(
        '--collect', action='store_true', help='run nothing, write the tables of what is finished'
    )
    return parser
