"""The runner of `scripts/device_check.py`: records, resumption, limits, and the table.

The stages themselves are run by `python scripts/device_check.py --platform=cpu --small`.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

ABOUT = {'commit': 'abc', 'small': True}
TELL = 'import json, os; f = open(os.environ["DEVICE_ROWS"], "a");'


@pytest.fixture
def runner(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    from device import runner

    return runner


@pytest.fixture
def stage(runner):
    """Makes a stage of a line of Python, in an interpreter that starts quickly."""

    def make(name, code, limit=20.0):
        return runner.Stage(name, [sys.executable, '-S', '-E', '-c', code], limit)

    return make


def told(**row):
    return f'{TELL} print({json.dumps(row)!r}, file=f, flush=True)'


def assert_ends(number):
    """Waits until a process has ended, or only init has to collect it."""
    for _ in range(500):
        state = pathlib.Path(f'/proc/{number}/stat')
        try:
            if state.read_text().split()[2] == 'Z':
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    pytest.fail(f'process {number} is alive')


def test_records_are_appended_and_a_stage_with_one_is_passed_over(runner, stage, tmp_path):
    results, said = tmp_path / 'found.jsonl', []
    good = stage('good', told(what='speed', value=12.5, passed=None))
    wrong = stage('wrong', told(what='digits', value=0.5, passed=False))
    options = {'about': ABOUT, 'total': 60, 'say': said.append}
    first = runner.run([good, wrong], results, **options)
    assert [r['status'] for r in first] == ['passed', 'failed']
    assert first[0]['rows'] == [{'what': 'speed', 'value': 12.5, 'passed': None}]
    assert first[1]['message'] == 'not as expected: digits'
    assert runner.read(results) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ['found.jsonl', 'found.log']

    results.write_text(results.read_text() + '{"stage": "torn')
    other = stage('other', 'pass')
    second = runner.run([good, wrong, other], results, **options)
    assert second[:2] == first
    assert [r['stage'] for r in runner.read(results)] == ['good', 'wrong', 'other']
    assert 'good: has a record, passed' in said

    again = runner.run([good, wrong], results, again=['wrong'], **options)
    assert [r['stage'] for r in runner.read(results)] == ['good', 'wrong', 'other', 'wrong']
    assert again[0] == first[0]
    # of another commit, nothing counts
    runner.run([good], results, about=ABOUT | {'commit': 'abd'}, total=60, say=said.append)
    assert len(runner.read(results)) == 5


def test_stage_that_hangs_is_ended_with_what_it_started_and_keeps_its_rows(runner, stage, tmp_path):
    child = tmp_path / 'child'
    hangs = (
        f'{told(what="first", value=1, passed=True)}; import subprocess, sys, time;'
        f' p = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]);'
        f' open({str(child)!r}, "w").write(str(p.pid)); time.sleep(60)'
    )
    begun = time.monotonic()
    (record,) = runner.run(
        [stage('hangs', hangs, 1.0)], tmp_path / 'r.jsonl', about={}, total=60, say=str
    )
    assert time.monotonic() - begun < 20
    assert record['status'] == 'time limit'
    assert [row['what'] for row in record['rows']] == ['first']
    assert_ends(int(child.read_text()))


def test_stage_ends_where_its_runner_is_ended(runner, stage, tmp_path):
    """By SIGTERM, which the scripts turn into an exit, or Ctrl-C."""
    number = tmp_path / 'number'
    hangs = f'import os, time; open({str(number)!r}, "w").write(str(os.getpid())); time.sleep(60)'
    waited = []

    class Waits(runner.subprocess.Popen):
        def wait(self, timeout=None):
            if timeout and not waited:
                waited.append(timeout)
                while not (number.exists() and number.read_text()):
                    time.sleep(0.01)
                raise SystemExit(143)
            return super().wait(timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.subprocess, 'Popen', Waits)
        with pytest.raises(SystemExit):
            runner.run([stage('hangs', hangs)], tmp_path / 'r.jsonl', about={}, total=60, say=str)
    with pytest.raises(ProcessLookupError):
        os.kill(int(number.read_text()), 0)
    assert not (tmp_path / 'r.jsonl').exists()


def test_stage_ends_with_a_runner_that_is_killed(tmp_path):
    """By SIGKILL, which no handler sees; what goes on would hold the device."""
    number = tmp_path / 'number'
    hangs = (
        'import os, sys, time, subprocess; from device import runner; runner.end_with_runner(0.05);'
        ' p = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]);'
        f' open({str(number)!r}, "w").write(f"{{os.getpid()}} {{p.pid}} "); time.sleep(60)'
    )
    runs = (
        'import pathlib, sys; from device import runner;'
        f' stage = runner.Stage("hangs", [sys.executable, "-c", {hangs!r}], 60);'
        f' runner.run([stage], pathlib.Path({str(tmp_path / "r.jsonl")!r}), about={{}}, total=60)'
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT / 'scripts')}
    process = subprocess.Popen([sys.executable, '-c', runs], env=environment)
    try:
        while not (number.exists() and number.read_text().endswith(' ')):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    for one in number.read_text().split():
        assert_ends(int(one))


def test_what_cannot_run_and_what_breaks_is_said(runner, stage, tmp_path):
    stages = [
        stage(
            'lacking',
            f'{TELL} print(\'{{"skipped": "no PyTorch"}}\', file=f); f.close(); os._exit(3)',
        ),
        stage('broken', 'raise ValueError("what happened")'),
    ]
    records = runner.run(stages, tmp_path / 'r.jsonl', about={}, total=60, say=str)
    assert [(r['status'], r['message']) for r in records] == [
        ('skipped', 'no PyTorch'),
        ('error', 'exit status 1: ValueError: what happened'),
    ]


def test_no_stage_begins_after_the_total(runner, stage, tmp_path):
    results, said = tmp_path / 'r.jsonl', []
    assert runner.run([stage('late', 'pass')], results, about={}, total=1, say=said.append) == []
    assert said == ['late: not begun, 1 of 1 s are left']
    assert not results.exists()


def test_a_call_without_time_for_its_stages_does_not_pass(tmp_path):
    script = [sys.executable, str(ROOT / 'scripts' / 'device_check.py'), '--only', 'machine']
    told = subprocess.run([*script, '--total', '1', '--out', str(tmp_path)], capture_output=True)
    assert b'machine: not begun' in told.stdout
    assert told.returncode == 1


def test_stage_that_the_total_cuts_off_runs_again(runner, stage, tmp_path):
    results = tmp_path / 'r.jsonl'
    code = f'{told(what="first", value=1, passed=True)}; import time; time.sleep(60)'
    options = {'about': ABOUT, 'say': str}
    (record,) = runner.run([stage('cut', code, 4.0)], results, total=1.5, **options)
    assert record['status'] == 'cut'
    assert [row['what'] for row in record['rows']] == ['first']
    assert runner.known(results, ABOUT) == {'cut': record}

    (record,) = runner.run([stage('cut', 'pass')], results, total=60, **options)
    assert record['status'] == 'passed'
    # a later cut, of --again, does not take its place
    runner.run([stage('cut', code, 4.0)], results, total=1.5, again=['cut'], **options)
    assert runner.known(results, ABOUT) == {'cut': record}


def test_records_of_an_earlier_file_come_first_and_once(runner, tmp_path):
    earlier, results = tmp_path / 'earlier.jsonl', tmp_path / 'r.jsonl'
    earlier.write_text('{"stage": "a", "status": "error"}\n{"stage": "b", "status": "passed"}\n')
    results.write_text('{"stage": "a", "status": "passed"}\n')
    for _ in range(2):
        runner.merge(earlier, results)
    assert len(runner.read(results)) == 3
    statuses = {name: record['status'] for name, record in runner.known(results, {}).items()}
    assert statuses == {'a': 'passed', 'b': 'passed'}


def test_table_has_a_row_per_figure(runner):
    records = [
        {
            'stage': 'one',
            'status': 'failed',
            'seconds': 1.5,
            'message': 'not as expected: b',
            'rows': [
                {'what': 'a', 'value': 1234.5678, 'passed': None, 'note': 'x | y'},
                {'what': 'b', 'value': 0.123456, 'passed': False},
                {'what': 'c', 'value': 'text', 'passed': True},
            ],
        },
        {'stage': 'two', 'status': 'skipped', 'seconds': 0.1, 'message': 'no GPU', 'rows': []},
    ]
    assert runner.table(records).splitlines()[2:] == [
        '| one (1.5 s) | a | 1235 |  | x / y |',
        '| one (1.5 s) | b | 0.1235 | **no** |  |',
        '| one (1.5 s) | c | text | yes |  |',
        '| two (0.1 s) | skipped | | | no GPU |',
    ]


def test_stages_are_functions_and_their_limits_are_those_of_a_short_lease(monkeypatch):
    """Read without JAX: the modules of the stages are parsed, not imported."""
    import ast
    import importlib.util

    monkeypatch.setattr(sys, 'path', [*sys.path])
    spec = importlib.util.spec_from_file_location('device_check', ROOT / 'scripts/device_check.py')
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for module, function, seconds in script.STAGES.values():
        tree = ast.parse((ROOT / f'scripts/device/{module}.py').read_text())
        assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
        assert 0 < seconds <= 180
    # in the order of their value
    names = list(script.STAGES)
    assert names[:3] == ['machine', 'losses', 'retrieval']
    assert names[-2:] == ['market', 'demo']
    # what one call certainly reaches by default, though every stage takes its whole limit
    assert script.TOTAL < 8 * 60
    limits = [seconds for _, _, seconds in script.STAGES.values()]
    assert sum(limits[:3]) < script.TOTAL
    assert max(limits) <= script.TOTAL  # so each call finishes the first stage that is left
