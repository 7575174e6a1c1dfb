"""Plans the runs of a table, and the teachers whose labels some of them read.

A run has a variant, a pair and a seed.
"""

import dataclasses
import difflib
import importlib.util
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from jreid import configs
from jreid.commands.fields import set_fields
from jreid.configs import variants
from jreid.run.config import check
from jreid.tables.catalogue import Row, Table

SYNTHETIC = ('demo', 'ward2pku', 'pku2ward')
"""Pairs whose teachers are trained on generated people; other pairs use the paper's data sets."""
SPLIT = ('data.source_options', 'data.target_options')
TEACHER_FIELDS = (
    '--config.data.root',
    '--config.data.pack_folder',
    '--config.data.loader',
    '--config.model.',
)
"""Fields of a row that hold for its teachers too."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `jreid` with its arguments, run in a process of its own."""

    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return ' '.join(['jreid', self.name, *self.arguments])


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
      table, row: the first table and row that need the run; others may share it.
      pair: name of the config file.
      repetition: the seed, and the number of the random split where the pair has random splits.
      folder: the folder that gets the row's `summary.json`.
      command: trains the run, or evaluates the run of another row whose training this one is.
      config: the config of the training.
      steps: work that comes before, in order.
      training: folder of the training; `folder` but for a row that evaluates another row's run.
    """

    table: str
    row: Row
    pair: str
    repetition: int
    folder: pathlib.Path
    command: Command
    config: ConfigDict
    steps: tuple[Step, ...]
    training: pathlib.Path

    @property
    def label(self) -> str:
        """Returns the run's name for progress bars and messages."""
        return f'{self.pair} {self.folder.parent.name} seed {self.repetition}'


def folder_of(workdir: pathlib.Path, pair: str, variant: str, repetition: int) -> pathlib.Path:
    """Returns the folder whose summary has a variant's row, which tables share."""
    variant = variants.summary_of(variant)
    return workdir / pathlib.Path(pair).stem / variant / str(repetition)


def config_file(pair: str) -> pathlib.Path:
    """Returns the config file of a pair, which is a name in `configs/` or a path.

    Raises:
      FileNotFoundError: there is no such file; the message names the pairs that exist.
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
    """Reads the config that `jreid train` would run with these arguments.

    Args:
      arguments: the first is `--config=FILE:VARIANT`.

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
    return set_fields(config, [word for word in arguments[1:] if word.startswith('--config.')])


def plan(
    tables: Sequence[Table],
    *,
    workdir: pathlib.Path,
    pairs: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    rows: Sequence[str] = (),
    fields: Sequence[str] = (),
    teacher_fields: Sequence[str] = (),
) -> tuple[list[Job], dict[tuple[str, str], str]]:
    """Plans the runs of tables.

    Args:
      tables: the tables.
      workdir: runs lie in `<workdir>/<pair>/<variant>/<seed>`.
      pairs: config names or files; empty for each table's own.
      seeds: seeds of the runs, one run per seed.
      rows: names of rows or variants; empty for all.
      fields: `--config.field=value` of every run.
      teacher_fields: the same for the teachers' runs.

    Returns:
      The runs, each once, in an order that depends on the arguments alone; and (pair, row) ->
      reason for the rows without a run.

    Raises:
      FileNotFoundError: one of `pairs` has no config file.
      ValueError: one of `rows` is in none of the tables, a config does not have a field, or a
        field has a value that a run would refuse before it reads any data.
    """
    for pair in pairs:
        config_file(pair)
    known = [name for table in tables for row in table.rows for name in row.names]
    for name in rows:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" (did you mean '{near[0]}'?)" if near else ''
            raise ValueError(
                f"row '{name}' is in none of {', '.join(t.name for t in tables)}{hint}; there are:"
                f' {", ".join(dict.fromkeys(known))}'
            )
    jobs: dict[pathlib.Path, Job] = {}
    without: dict[tuple[str, str], str] = {}
    for table in tables:
        for pair in pairs or table.pairs:
            for row in table.rows:
                if (rows and not set(rows).intersection(row.names)) or (
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
                                table, row, pair, seed, folder, workdir, fields, teacher_fields
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
    fields: Sequence[str],
    teacher_fields: Sequence[str],
) -> Job:
    """Plans a row's run; one that another variant trains is evaluated after that training.

    Where that training's summary has the row, the run is that training.
    """
    trained = variants.training_of(row.variant)
    training = folder_of(workdir, pair, trained, seed)
    command, config, steps = _training(
        trained, pair, seed, training, workdir, fields, teacher_fields
    )
    if folder != training:
        variant = variants.VARIANTS[row.variant]
        words = [f'--config.method.{name}={value}' for name, value in variant.changes.items()]
        words += ['--rerank'] if variants.reranked(row.variant) else []
        steps = (*steps, Step(training, command, 'summary.json'))
        command = Command('evaluate', (str(training), *words, f'--json={folder / "summary.json"}'))
    return Job(table.name, row, pair, seed, folder, command, config, steps, training)


def _training(
    variant: str,
    pair: str,
    seed: int,
    folder: pathlib.Path,
    workdir: pathlib.Path,
    fields: Sequence[str],
    teacher_fields: Sequence[str],
) -> tuple[Command, ConfigDict, tuple[Step, ...]]:
    """Returns the command that trains a variant, its config, and the work before it."""
    arguments = [f'--config={config_file(pair)}:{variant}', f'--config.seed={seed}', *fields]
    config = read_config(arguments)
    steps, more_fields = _teachers(variant, pair, config, workdir, fields, teacher_fields)
    for group in SPLIT:
        has_splits = 'split' in config.data[group.removeprefix('data.')]
        if has_splits and f'--config.{group}.split=' not in ' '.join(fields):
            more_fields.append(f'--config.{group}.split={seed}')
    if more_fields:
        arguments += more_fields
        config = read_config(arguments)
    check(config)
    command = Command('train', (*arguments, f'--workdir={folder}'))
    return command, config, tuple(steps)


def _teachers(
    variant: str,
    pair: str,
    config: ConfigDict,
    workdir: pathlib.Path,
    fields: Sequence[str],
    teacher_fields: Sequence[str],
) -> tuple[list[Step], list[str]]:
    """Plans the teachers of a row with proxy tasks.

    Returns:
      Steps that train the teachers and write their labels; and the fields that name the labels.
    """
    tasks = [
        task
        for task in ('parsing', 'attributes')
        if task in config.method and config.method[task] in ('source', 'target', 'both')
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
    attributes_of = variants.VARIANTS[variant].attributes_of
    if synthetic and attributes_of == 'rap':
        raise FileNotFoundError(
            "needs a teacher trained on RAP; pairs without the paper's data have one teacher of"
            ' attributes, on generated people'
        )
    trained_on = {
        'parsing': 'synthetic' if synthetic else 'densepose',
        'attributes': 'synthetic' if synthetic else attributes_of,
    }
    shared_fields = [field for field in fields if field.startswith(TEACHER_FIELDS)]
    data_fields = [field for field in fields if field.startswith('--config.data.')]
    teachers = {task: f'{task}-{trained_on[task]}' for task in tasks}
    steps, label_fields = [], []
    for task, teacher in teachers.items():
        run = workdir / 'teachers' / teacher
        arguments = (
            f'--config={config_file(f"teacher_{task}")}:{trained_on[task]}',
            f'--workdir={run}',
            *shared_fields,
            *teacher_fields,
        )
        check(read_config(arguments))
        steps.append(Step(run, Command('train', arguments), 'summary.json'))
    for domain in domains:
        out = workdir / name / 'labels' / '-'.join([domain, *teachers.values()])
        for task, teacher in teachers.items():
            arguments = (
                f'--teacher={workdir / "teachers" / teacher}',
                f'--config={config_file(pair)}',
                f'--out={out}',
                f'--domain={domain}',
                *data_fields,
            )
            steps.append(Step(out, Command('label', arguments), f'{task}.done'))
        label_fields.append(f'--config.data.{domain}_teacher={out}')
    return steps, label_fields
