"""`jreid reproduce`, `python scripts/reproduce.py`: the rows of the papers' tables, run, resumed
or collected, and written beside the paper's numbers.
"""

import argparse
import contextlib
import importlib
import pathlib
import sys
from collections.abc import Mapping, Sequence

from jreid.commands import console
from jreid.tables import catalogue, jobs, results, runner, writing

EPILOG = """further arguments of the form --config.field=value hold for every run, e.g. --config.data.root=/data/reid;
--teacher.field=value for the teachers' runs

examples:
  %(prog)s --list
  %(prog)s --table=dien-1 --pair=demo --seeds=3
  %(prog)s --table=dien-1 --pair=duke2market --workdir=runs/tables --seeds=3 --config.data.root=/data/reid --shard=1/2
"""


def main(
    arguments: Sequence[str] | None = None, *, prog: str = 'python scripts/reproduce.py'
) -> int:
    """The command; 0, 1 where a row failed, 2 where the arguments are wrong."""
    options, rest = _parser(prog).parse_known_args(arguments)
    options.teacher = [argument for argument in rest if argument.startswith('--teacher.')]
    rest = [argument for argument in rest if argument not in options.teacher]
    edits = [argument for argument in rest if argument.startswith('--config.')]
    if unknown := [argument for argument in rest if not argument.startswith('--config.')]:
        print(
            f'{prog}: unknown arguments {" ".join(unknown)}; fields are set as'
            ' --config.field=value',
            file=sys.stderr,
        )
        return 2
    if missing := _missing_configs():
        print(f'{prog}: {missing}', file=sys.stderr)
        return 2
    if options.list:
        print(listing())
        return 0
    console.talk()
    try:
        if not options.table:
            raise ValueError('--table is missing; --list prints those there are')
        names = (
            list(catalogue.tables())
            if 'all' in options.table
            else [name for given in options.table for name in given.split(',')]
        )
        tables = [catalogue.get(name) for name in names]
        seeds = _seeds(options.seeds)
        teacher = [edit.replace('--teacher.', '--config.', 1) for edit in options.teacher]
        chosen = {
            'pairs': options.pair,
            'rows': options.row,
            'edits': edits,
            'teacher_edits': teacher,
        }
        todo, without = jobs.plan(tables, workdir=options.workdir, seeds=seeds, **chosen)
        part = _shard(todo, options.shard)
        if options.dry_run:
            print(_dry(part, without))
            return 0
    except (FileNotFoundError, ValueError) as error:
        print(f'{prog}: {error}', file=sys.stderr)
        return 2
    wrong = {} if options.collect else runner.run_all(part)
    other = (
        {job.folder: told for job in todo if (told := runner.other_config(job))}
        if options.collect
        else {}
    )
    _write(tables, options.workdir, options.pair, seeds, options.row, without, wrong, other)
    if wrong:
        print(
            f'{len(wrong)} of {len(part)} runs failed:',
            *(f'  {folder}: {reason}' for folder, reason in wrong.items()),
            sep='\n',
            file=sys.stderr,
        )
    return 1 if wrong else 0


def _missing_configs() -> str:
    """'' where `configs` can be imported, from the current folder if need be; else what to do."""
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module('configs.variants')
        return ''
    sys.path.append(str(pathlib.Path.cwd()))
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module('configs.variants')
        return ''
    return (
        'the folder configs/ of the repository is not here; start the command in the repository, or'
        ' install it with pip install -e'
    )


def listing() -> str:
    """All tables with their pairs and rows."""
    lines = []
    for table in catalogue.tables().values():
        lines.append(f'{table.name}: {table.title}; pairs {", ".join(table.pairs)}')
        lines += [f'    {row.name:<30} {row.variant or "- " + row.reason}' for row in table.rows]
    return '\n'.join(lines)


def _write(
    tables: Sequence[catalogue.Table],
    workdir: pathlib.Path,
    pairs: Sequence[str],
    seeds: Sequence[int],
    rows: Sequence[str],
    without: Mapping[tuple[str, str], str],
    wrong: Mapping[pathlib.Path, str],
    other: Mapping[pathlib.Path, str],
) -> None:
    """Every table's files, and what is in them on the screen."""
    for table in tables:
        for pair in pairs or table.pairs:
            lines = results.lines(
                table,
                workdir=workdir,
                pair=pair,
                seeds=seeds,
                rows=rows,
                without=without,
                wrong=wrong,
                other=other,
            )
            if lines:
                written = writing.write(workdir / 'tables', table, lines)
                print(writing.markdown(table, lines))
                print('written:', ', '.join(str(path) for path in written), end='\n\n')


def _dry(todo: Sequence[jobs.Job], without: dict[tuple[str, str], str]) -> str:
    """What would run."""
    lines, told = [], set()
    for job in todo:
        for step in job.steps:
            if step not in told:
                told.add(step)
                lines.append(
                    f'{"done" if (step.folder / step.done).is_file() else "before":<9}'
                    f' {step.command}'
                )
        lines.append(f'{runner.state(job):<9} {job.command}')
    lines += [f'no run    {pair}, {row}: {reason}' for (pair, row), reason in without.items()]
    return '\n'.join(lines)


def _seeds(text: str) -> list[int]:
    """'3' -> 0, 1, 2; '4,7' -> 4, 7."""
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


def _shard(todo: Sequence[jobs.Job], text: str) -> list[jobs.Job]:
    """The i-th of n parts of the runs, i from 1."""
    i, _, n = text.partition('/')
    if not (i.isdigit() and n.isdigit()) or not 1 <= int(i) <= int(n):
        raise ValueError(f"--shard is '{text}'; expected i/n with i from 1 to n, e.g. 1/4")
    return list(todo)[int(i) - 1 :: int(n)]


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
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--list', action='store_true', help='print all tables and rows')
    what.add_argument('--dry-run', action='store_true', help='print what would run')
    what.add_argument(
        '--collect', action='store_true', help='run nothing, write the tables of what is finished'
    )
    return parser
