"""The runs that a table needs: a variant, a pair and a seed each; and the teachers that some of
them read labels of.
"""

import dataclasses
import difflib
import importlib.util
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from jreid import configs
from jreid.commands.edits import edited
from jreid.tables.catalogue import Row, Table

SYNTHETIC = ('demo', 'ward2pku', 'pku2ward')
"""Pairs whose teachers are trained on generated people; the others' on the data sets of the
paper.
"""
SPLIT = ('data.source_options', 'data.target_options')
TEACHER_FIELDS = (
    '--config.data.root',
    '--config.data.pack_folder',
    '--config.data.loader',
    '--config.model.',
)
"""What of a row's own settings holds for its teachers too."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A module of jreid with its arguments, run in a process of its own."""

    module: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f'python -m {self.module} ' + ' '.join(self.arguments)


@dataclasses.dataclass(frozen=True)
class Step:
    """Work that several runs wait for; done when `folder` holds `done`."""

    folder: pathlib.Path
    command: Command
    done: str


@dataclasses.dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
      table, row: what it is for; a run that several rows share is named by the first.
      pair: name of the config file.
      repetition: the seed, and the number of the random split where the pair has such.
      folder: the run's folder.
      command: the training.
      config: what it will be trained with.
      steps: what must be done before, in order.
    """

    table: str
    row: Row
    pair: str
    repetition: int
    folder: pathlib.Path
    command: Command
    config: ConfigDict
    steps: tuple[Step, ...]

    @property
    def label(self) -> str:
        return f'{self.pair} {self.row.variant} seed {self.repetition}'


def folder_of(workdir: pathlib.Path, pair: str, variant: str, repetition: int) -> pathlib.Path:
    """Where the run of a row lies; tables share it."""
    return workdir / pathlib.Path(pair).stem / variant / str(repetition)


def config_file(pair: str) -> pathlib.Path:
    """The config file of a pair, a name in `configs/` or a path.

    Raises:
      FileNotFoundError: there is none; names those that exist.
    """
    place = pathlib.Path(configs.__file__).parent
    path = pathlib.Path(pair) if pair.endswith('.py') else place / f'{pair}.py'
    if not path.is_file():
        known = sorted(
            p.stem
            for p in place.glob('*.py')
            if p.stem not in ('__init__', 'base', 'variants') and not p.stem.startswith('teacher')
        )
        near = difflib.get_close_matches(path.stem, known, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        raise FileNotFoundError(
            f"pair '{pair}' has no config file {path}{hint}; there are: {', '.join(known)}"
        )
    return path


def read_config(arguments: Sequence[str]) -> ConfigDict:
    """The config that jreid.main would run with these arguments, the first of which is
    --config=FILE:VARIANT.

    Raises:
      ValueError: a field that the config does not have, or a value of another type.
    """
    file, _, variant = arguments[0].removeprefix('--config=').partition(':')
    spec = importlib.util.spec_from_file_location('config_of_a_table', file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(variant) if variant else module.get_config()
    return edited(
        config, [argument for argument in arguments[1:] if argument.startswith('--config.')]
    )


def plan(
    tables: Sequence[Table],
    *,
    workdir: pathlib.Path,
    pairs: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    rows: Sequence[str] = (),
    edits: Sequence[str] = (),
    teacher_edits: Sequence[str] = (),
) -> tuple[list[Job], dict[tuple[str, str], str]]:
    """The runs of tables, each once, in an order that depends on the arguments alone; and (pair,
    row) -> reason of the rows that have none.

    Args:
      workdir: runs lie in `<workdir>/<pair>/<variant>/<seed>`.
      pairs: config names or files; none for each table's own.
      seeds: a run each.
      rows: names of rows or variants; none for all.
      edits: `--config.field=value` of every run.
      teacher_edits: the same for the teachers' runs.

    Raises:
      FileNotFoundError: a pair that was asked for has no config file.
      ValueError: a row that was asked for is in none of the tables; or a field that a config does
        not have.
    """
    for pair in pairs:
        config_file(pair)
    there = [
        name for table in tables for row in table.rows for name in (row.name, row.variant) if name
    ]
    for asked in rows:
        if asked not in there:
            near = difflib.get_close_matches(asked, there, 1)
            hint = f" (did you mean '{near[0]}'?)" if near else ''
            raise ValueError(
                f"row '{asked}' is in none of {', '.join(t.name for t in tables)}{hint}; there are:"
                f' {", ".join(dict.fromkeys(there))}'
            )
    jobs: dict[pathlib.Path, Job] = {}
    without: dict[tuple[str, str], str] = {}
    for table in tables:
        for pair in pairs or table.pairs:
            for row in table.rows:
                if (rows and row.name not in rows and row.variant not in rows) or (
                    not pairs and pair not in {**row.paper, **row.notes}
                ):
                    continue
                if row.reason:
                    without[pair, row.name] = row.reason
                    continue
                for seed in seeds:
                    folder = folder_of(workdir, pair, row.variant, seed)
                    if folder not in jobs:
                        try:
                            jobs[folder] = _job(
                                table, row, pair, seed, folder, workdir, edits, teacher_edits
                            )
                        except FileNotFoundError as error:
                            without[pair, row.name] = str(error)
    return list(jobs.values()), without


def _job(
    table: Table,
    row: Row,
    pair: str,
    seed: int,
    folder: pathlib.Path,
    workdir: pathlib.Path,
    edits: Sequence[str],
    teacher_edits: Sequence[str],
) -> Job:
    arguments = [f'--config={config_file(pair)}:{row.variant}', f'--config.seed={seed}', *edits]
    config = read_config(arguments)
    for place in SPLIT:
        if 'split' in config.data[
            place.removeprefix('data.')
        ] and f'--config.{place}.split=' not in ' '.join(edits):
            arguments.append(f'--config.{place}.split={seed}')
    steps, told = _teachers(row.variant, pair, config, workdir, edits, teacher_edits)
    arguments += told
    command = Command('jreid.main', (*arguments, f'--workdir={folder}'))
    return Job(table.name, row, pair, seed, folder, command, read_config(arguments), tuple(steps))


def _teachers(
    variant: str,
    pair: str,
    config: ConfigDict,
    workdir: pathlib.Path,
    edits: Sequence[str],
    teacher_edits: Sequence[str],
) -> tuple[list[Step], list[str]]:
    """What a row of proxy tasks needs: teachers trained, their labels written; and the fields
    that name those labels.
    """
    tasks = [
        task
        for task in ('parsing', 'attributes')
        if config.method.get(task) in ('source', 'target', 'both')
    ]
    domains = [
        d
        for d in ('source', 'target')
        if any(config.method[task] in (d, 'both') for task in tasks)
        and not config.data[f'{d}_teacher']
    ]
    if not tasks or not domains:
        return [], []
    name = pathlib.Path(pair).stem
    synthetic = name in SYNTHETIC or config.data.source == 'synthetic'
    if synthetic and variant.endswith('-rap'):
        raise FileNotFoundError(
            "needs a teacher trained on RAP; pairs without the paper's data have one teacher of"
            ' attributes, on generated people'
        )
    of = {
        'parsing': 'synthetic' if synthetic else 'densepose',
        'attributes': 'synthetic' if synthetic else 'rap' if variant.endswith('-rap') else 'peta',
    }
    teacher_settings = (
        *(edit for edit in edits if edit.startswith(TEACHER_FIELDS)),
        *teacher_edits,
    )
    data = tuple(edit for edit in edits if edit.startswith('--config.data.'))
    steps, told = [], []
    for task in tasks:
        run = workdir / 'teachers' / f'{task}-{of[task]}'
        arguments = (
            f'--config={config_file(f"teacher_{task}")}:{of[task]}',
            f'--workdir={run}',
            *teacher_settings,
        )
        steps.append(Step(run, Command('jreid.main', arguments), 'summary.json'))
    for domain in domains:
        out = (
            workdir
            / name
            / 'labels'
            / '-'.join([domain, *(f'{task}-{of[task]}' for task in tasks)])
        )
        for task in tasks:
            teacher = workdir / 'teachers' / f'{task}-{of[task]}'
            arguments = (
                f'--teacher={teacher}',
                f'--config={config_file(pair)}',
                f'--out={out}',
                f'--domain={domain}',
                *data,
            )
            steps.append(Step(out, Command('jreid.commands.label', arguments), f'{task}.done'))
        told.append(f'--config.data.{domain}_teacher={out}')
    return steps, told
