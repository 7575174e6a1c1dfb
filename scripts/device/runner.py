"""Runs stages one after the other, each a process with a time limit, and keeps what they find.

A stage is a command that writes rows to the file in `$DEVICE_ROWS`, one JSON object per line, as
it goes: {"what": ..., "value": ..., "passed": true, false or null, "note": ...}. It ends with 0,
or with 3 and a last row {"skipped": reason} where the machine lacks what it needs. A process can
be ended wherever it hangs, also while it compiles; the rows that it has written stay.

A stage calls `end_with_runner`: of a runner that is killed at once, it would go on and hold the
device, beside the next call's stages.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROWS = 'DEVICE_ROWS'
RUNNER = 'DEVICE_RUNNER'
"""Names the variable with the number of the runner's process."""
SKIPPED = 3
"""Exit status of a stage that the machine cannot run."""
CUT = 'cut'
"""Status of a stage that the call's total ended; the next call runs it again."""
_LEAST = 1 / 3
"""Share of its limit under which no stage is begun."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the check.

    Attributes:
      name: in the results and on the command line.
      command: what is run.
      limit: seconds after which it is ended.
      environment: beside that of this process.
    """

    name: str
    command: Sequence[str]
    limit: float
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the records of a results file, without a line that a kill has torn."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def known(path: pathlib.Path, about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns stage -> its last record with `about`; one that was cut, where it has no other."""
    records = [record for record in read(path) if about.items() <= record.items()]
    # Those that were cut first, so that any other takes their place.
    records.sort(key=lambda record: record['status'] != CUT)
    return {record['stage']: record for record in records}


def merge(earlier: pathlib.Path, results: pathlib.Path) -> None:
    """Puts the records of an earlier file before those of the results, each once."""
    records = [json.dumps(record) for path in (earlier, results) for record in read(path)]
    whole = results.with_suffix('.merged')
    whole.write_text(''.join(f'{line}\n' for line in dict.fromkeys(records)))
    whole.replace(results)


def run(
    stages: Sequence[Stage],
    results: pathlib.Path,
    *,
    about: Mapping[str, Any],
    total: float,
    again: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> list[dict[str, Any]]:
    """Runs the stages that have no record yet, in order, and appends a record after each.

    Args:
      results: the JSON lines.
      about: kept in every record; a record counts only where it holds the same.
      total: seconds for all stages of this call. Stages that it has no time for get no record, and
        the record of one that it ends before the stage's own limit does not count: the next call
        runs them. None is begun with less than a third of its limit left.
      again: names of stages to run though they have a record.

    Returns:
      The last record of every stage that has one, in the order of the stages.
    """
    begun = time.monotonic()
    held = {
        name: record
        for name, record in known(results, about).items()
        if name not in again and record['status'] != CUT
    }
    log = results.with_suffix('.log')
    for stage in stages:
        if stage.name in held:
            say(f'{stage.name}: has a record, {held[stage.name]["status"]}')
            continue
        left = total - (time.monotonic() - begun)
        if left < _LEAST * stage.limit:
            say(f'{stage.name}: not begun, {max(left, 0):.0f} of {total:g} s are left')
            continue
        record = {**about, 'stage': stage.name, **_run(stage, min(stage.limit, left), log)}
        if record['status'] == 'time limit' and left < stage.limit:
            record |= {'status': CUT, 'message': f'the {total:g} s of the call were over'}
        # A line that a kill has torn must not take this one with it.
        torn = results.exists() and not results.read_bytes().endswith(b'\n')
        with open(results, 'a') as file:
            file.write('\n' * torn + json.dumps(record) + '\n')
            file.flush()
            os.fsync(file.fileno())
        held[stage.name] = record
        say(f'{stage.name}: {record["status"]}, {record["seconds"]} s. {record["message"]}'.strip())
    return [held[stage.name] for stage in stages if stage.name in held]


def _run(stage: Stage, limit: float, log: pathlib.Path) -> dict[str, Any]:
    """Runs a stage; returns its status, seconds, rows and message."""
    begun = time.monotonic()
    # What a stage that is ended leaves behind goes with the folder.
    with tempfile.TemporaryDirectory() as folder, open(log, 'a') as output:
        rows = pathlib.Path(folder) / 'rows'
        environment = {**os.environ, **stage.environment, ROWS: str(rows), 'TMPDIR': folder}
        environment |= {'JREID_CACHE': folder, RUNNER: str(os.getpid())}
        output.write(f'--- {stage.name}\n')
        output.flush()
        where = output.tell()
        # In a session of its own, so that the processes which it starts end with it.
        process = subprocess.Popen(
            stage.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        found = read(rows)
    message = '; '.join(row['skipped'] for row in found if 'skipped' in row)
    found = [row for row in found if 'skipped' not in row]
    if code is None:
        status, message = 'time limit', f'ended after its {limit:.0f} s'
    elif code == SKIPPED:
        status = 'skipped'
    elif code:
        with open(log, errors='replace') as file:
            file.seek(where)
            said = file.read().strip().splitlines()
        status, message = 'error', f'exit status {code}: {said[-1] if said else "no output"}'
    else:
        failed = [row['what'] for row in found if row.get('passed') is False]
        status = 'failed' if failed else 'passed'
        message = f'not as expected: {", ".join(failed)}' if failed else message
    seconds = round(time.monotonic() - begun, 1)
    return {'status': status, 'seconds': seconds, 'message': message, 'rows': found}


def _end(process: subprocess.Popen) -> None:
    """Ends a stage and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_with_runner(every: float = 0.5) -> None:
    """Ends this process and what it started where its runner has gone; does nothing without one."""
    runner = os.environ.get(RUNNER)
    if runner is None:
        return

    def watch() -> None:
        while os.getppid() == int(runner):
            time.sleep(every)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def table(records: Sequence[Mapping[str, Any]], *, head: str = 'stage') -> str:
    """Returns the records as a Markdown table, one row per figure.

    Args:
      head: of the first column.
    """
    lines = [f'| {head} | what | found | as expected | note |', '|---|---|---|---|---|']
    for record in records:
        name = f'{record["stage"]} ({record["seconds"]} s)'
        if record['status'] not in ('passed', 'failed'):
            lines.append(f'| {name} | {record["status"]} | | | {_cell(record["message"])} |')
        for row in record['rows']:
            passed = {True: 'yes', False: '**no**'}.get(row.get('passed'), '')
            lines.append(
                f'| {name} | {_cell(row["what"])} | {_cell(row["value"])} | {passed} |'
                f' {_cell(row.get("note", ""))} |'
            )
    return '\n'.join(lines)


def _cell(value: Any) -> str:
    """Returns a value as the text of a cell: numbers at four digits."""
    text = f'{value:.4g}' if isinstance(value, float) and abs(value) < 1e4 else str(value)
    return ' '.join(text.replace('|', '/').split())
