"""`jreid reproduce` runs, resumes and collects: with a stand-in for the training, and for real."""

import csv
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from jreid.configs import base, variants
from jreid.run.config import flat_config
from jreid.tables import command, jobs, runner

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Writes what a run writes: 50 + the seed for the source-only row and 51 + the seed for the adapted
# one. Fails where the workdir holds the file `break-VARIANT`. An evaluation writes the rows that
# it is asked for.
STAND_IN = """
import json, pathlib, sys
words = dict(word.split('=', 1) for word in sys.argv[1:] if '=' in word)
if '--json' in words:
    run, out = pathlib.Path(sys.argv[1]), pathlib.Path(words.pop('--json'))
    row = json.loads((run / 'summary.json').read_text())['adapted']
    rows = {'evaluated': {**row, 'rank1': 10.0}, 'evaluated_reranked': {**row, 'rank1': 53.0}}
    with open(run.parents[2] / 'ran.txt', 'a') as file:
        file.write(f'evaluate:{run.relative_to(run.parents[2])}:{",".join(words)}\\n')
    out.write_text(json.dumps(rows if '--rerank' in sys.argv else {'evaluated': rows['evaluated']}))
    sys.exit()
folder = pathlib.Path(words['--workdir'])
(folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
with open(folder.parents[2] / 'ran.txt', 'a') as file:
    file.write(f'{folder.relative_to(folder.parents[2])}\\n')
if (folder.parents[2] / f'break-{folder.parent.name}').exists():
    sys.exit('ValueError: out of luck')
seed = float(words['--config.seed'])
row = {name: 50 + seed for name in ('mAP', 'rank1', 'rank5', 'rank10', 'rank20', 'mINP')}
rows = {'source_only': row, 'adabn': {'mAP': 1.0}}
rows['adapted'] = {name: value + 1 for name, value in row.items()}
rows['adapted_reranked'] = {name: value + 2 for name, value in row.items()}
machine = {'device': 'cpu', 'devices': 1}
(folder / 'config.json').write_text(pathlib.Path(words['--config-json']).read_text())
rows |= {'images_seen': 1000, 'timing': {'seconds': 61.0}, 'machine': machine}
(folder / 'summary.json').write_text(json.dumps(rows))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Replaces trainings: (folder of the runs, function that runs the command)."""
    script = tmp_path / 'stand_in.py'
    script.write_text(STAND_IN)
    workdir = tmp_path / 'runs'
    workdir.mkdir()
    monkeypatch.setattr(runner, 'POLL', 0.01)

    def program(job):
        if job.name == 'evaluate':
            return [sys.executable, '-S', str(script), *job.arguments]
        config = tmp_path / 'config.json'
        config.write_text(
            jobs.read_config(
                [word for word in job.arguments if word.startswith('--config')]
            ).to_json_best_effort()
        )
        return [sys.executable, '-S', str(script), *job.arguments, f'--config-json={config}']

    def run(arguments):
        return command.main([*arguments, f'--workdir={workdir}'], prog='reproduce')

    monkeypatch.setattr(runner.run_all, '__kwdefaults__', {'start': program, 'progress': False})
    return workdir, run


def read_csv(path):
    with open(path, newline='') as file:
        return {row['row']: row for row in csv.DictReader(file)}


def ran(workdir):
    path = workdir / 'ran.txt'
    return path.read_text().split() if path.exists() else []


def test_table_of_a_paper_with_differences(stand_in, capsys):
    workdir, run = stand_in
    assert run(['--table=dmtnet-3', '--pair=duke2market', '--seeds=3']) == 0
    rows = read_csv(workdir / 'tables' / 'dmtnet-3-duke2market.csv')
    evaluated = [line for line in ran(workdir) if line.startswith('evaluate:')]
    assert evaluated == [f'evaluate:duke2market/dmtnet/{seed}:' for seed in range(3)]
    assert len(ran(workdir)) == 15 + 3
    dmtnet = rows['DMTNet']
    assert (
        dmtnet['rank-1 paper'],
        dmtnet['rank-1 mean'],
        dmtnet['rank-1 deviation'],
        dmtnet['rank-1 values'],
    ) == ('71.5', '52', '1', '51 52 53')
    assert float(dmtnet['rank-1 difference']) == pytest.approx(52 - 71.5)
    assert float(rows['DMTNet+ReRanking']['rank-1 mean']) == 53
    assert (dmtnet['images seen'], dmtnet['wall seconds'], dmtnet['device'], dmtnet['runs']) == (
        '1000',
        '61',
        'cpu',
        '3',
    )
    assert 'at least 15.3 rank-1 below DMTNet' in rows['MTwINet']['note']
    text = (workdir / 'tables' / 'dmtnet-3-duke2market.md').read_text()
    assert (
        '| DMTNet | 42.3 | 52.0 ± 1.0 | +9.7 | 71.5 | 52.0 ± 1.0 | -19.5 | 3/3 | 1,000 | 1 min 01 s'
        ' | cpu |' in text
    )
    assert text in capsys.readouterr().out
    page = (workdir / 'tables' / 'dmtnet-3-duke2market.html').read_text()
    assert '<th scope="row">DMTNet+ReRanking</th>' in page
    assert 'src=' not in page


def test_rows_of_one_training_train_once(stand_in, capsys):
    workdir, run = stand_in
    arguments = ['--table=mtdnet-1', '--pair=ward2pku', '--row=MTDnet-trp', '--row=MTDnet']
    assert run([*arguments, '--dry-run']) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if 'jreid' in line]
    assert [line.split()[:3] for line in listed] == [
        ['before', 'jreid', 'train'],
        ['to', 'run', 'jreid'],
    ]
    assert run(arguments) == 0
    once = ['ward2pku/mtdnet/0', 'evaluate:ward2pku/mtdnet/0:--config.method.test']
    assert ran(workdir) == once
    rows = read_csv(workdir / 'tables' / 'mtdnet-1-ward2pku.csv')
    assert (rows['MTDnet']['rank-1 mean'], rows['MTDnet-trp']['rank-1 mean']) == ('51', '10')
    assert rows['MTDnet-trp']['images seen'] == '1000'  # the training's
    # Neither is made again, and a run of another config is not evaluated.
    assert run(arguments) == 0
    assert ran(workdir) == once
    (workdir / 'ward2pku' / 'mtdnet-trp' / '0' / 'summary.json').unlink()
    assert run([*arguments, '--config.method.momentum=0.5']) == 1
    assert ran(workdir) == once
    assert 'mtdnet/0 holds a finished run of another config' in capsys.readouterr().err


def test_variants_of_another_training_differ_in_evaluation_alone():
    shared = {name for name in variants.VARIANTS if variants.training_of(name) != name}
    assert shared == {'dmtnet-reranking', 'mtdnet-trp', 'tjaidl-no-adaptation', 'dien-t3'}
    for name in shared:
        own, its = (
            flat_config(base.get_config(one).to_dict())
            for one in (name, variants.training_of(name))
        )
        differing = {field for field in own if own[field] != its[field]} - {'variant'}
        read = {'method.adapt_iterations'} if variants.VARIANTS[name].of_row else set()
        assert differing <= (read or {'method.test', 'evaluation.rerank'})


def test_a_row_that_a_trainings_summary_has_is_read_there(stand_in):
    workdir, run = stand_in
    assert run(['--table=tjaidl-4', '--pair=demo', '--row=w/o Adaptation']) == 0
    assert run(['--table=tjaidl-4', '--pair=demo']) == 0
    assert ran(workdir) == ['demo/tjaidl/0']
    rows = read_csv(workdir / 'tables' / 'tjaidl-4-demo.csv')
    assert [rows[f'{name} Adaptation']['mAP mean'] for name in ('w/o', 'w')] == ['50', '51']
    summary = workdir / 'demo' / 'tjaidl' / '0' / 'summary.json'
    summary.write_text(summary.read_text().replace('source_only', 'other'))
    assert run(['--table=tjaidl-4', '--pair=demo', '--collect']) == 0
    row = read_csv(workdir / 'tables' / 'tjaidl-4-demo.csv')['w/o Adaptation']
    assert (row['mAP mean'], row['note']) == ('', "a summary has no row 'source_only'")


def test_finished_runs_are_not_run_again_and_a_failure_stops_no_other(stand_in, capsys):
    workdir, run = stand_in
    arguments = [
        '--table=dien-1',
        '--pair=demo',
        '--row=Base',
        '--row=dien-base-dc',
        '--row=dien',
        '--seeds=2',
    ]
    (workdir / 'break-dien-base-dc').touch()
    assert run(arguments) == 1
    output = capsys.readouterr()
    assert '2 of 6 runs failed' in output.err
    assert 'out of luck' in output.err
    first = ran(workdir)
    assert len(first) == 6
    rows = read_csv(workdir / 'tables' / 'dien-1-demo.csv')
    assert (rows['Base']['runs'], rows['Base+DC']['runs']) == ('2', '0')
    assert 'out of luck' in rows['Base+DC']['note']
    assert rows['Base']['mAP difference'] == ''  # the paper has other data
    (workdir / 'break-dien-base-dc').unlink()
    assert run([*arguments, '--collect']) == 0
    assert ran(workdir) == first
    assert run(arguments) == 0
    assert ran(workdir)[6:] == ['demo/dien-base-dc/0', 'demo/dien-base-dc/1']
    rows = read_csv(workdir / 'tables' / 'dien-1-demo.csv')
    assert rows['Base+DC']['note'] == ''
    text = (workdir / 'tables' / 'dien-1-demo.md').read_text()
    assert 'not comparable' in text
    assert '+3.4 / +0.0' in text  # the gain in mAP over Base: paper's 24.2 - 20.8, and ours


def test_a_folder_with_a_run_of_another_config_is_refused(stand_in, capsys):
    workdir, run = stand_in
    arguments = ['--table=dien-1', '--pair=demo', '--row=Base']
    assert run(arguments) == 0
    assert run([*arguments, '--config.method.momentum=0.5']) == 1
    assert (
        'holds a finished run of another config (method.momentum: 0.9 there, 0.5 now)'
        in capsys.readouterr().err
    )
    # The run counts, and the note names the difference.
    assert run([*arguments, '--config.method.momentum=0.5', '--collect']) == 0
    row = read_csv(workdir / 'tables' / 'dien-1-demo.csv')['Base']
    assert (row['runs'], row['note']) == (
        '1',
        'seed 0 has another config: method.momentum: 0.9 there, 0.5 now',
    )


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (
            '--pair=demmo',
            (
                "pair 'demmo' has no config file .*demmo.py \\(did you mean 'demo'\\?\\); there"
                ' are: cuhk03, '
            ),
        ),
        (
            '--row=dein',
            (
                "row 'dein' is in none of dien-1 \\(did you mean 'dien'\\?\\); there are: Base,"
                ' dien-base, '
            ),
        ),
        (
            '--config.method.relabel=2',
            'the config has no field method.relabel \\(--config.method.relabel=2\\); ',
        ),
        ('--config.method.learnin_rate=2', 'did you mean method.learning_rate'),
    ],
)
def test_a_wrong_name_is_answered_before_anything_runs(stand_in, capsys, wrong, message):
    workdir, run = stand_in
    assert run(['--table=dien-1', '--pair=demo', wrong]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert list(workdir.iterdir()) == []


def test_shards_are_a_partition(stand_in, capsys):
    workdir, run = stand_in
    arguments = ['--table=tjaidl-2,dmtnet-3', '--pair=demo', '--dry-run']

    def planned(shard):
        assert run([*arguments, f'--shard={shard}']) == 0
        return [
            line.split('--workdir=')[1]
            for line in capsys.readouterr().out.splitlines()
            if 'jreid train' in line
        ]

    parts = [planned(f'{i}/3') for i in (1, 2, 3)]
    assert sorted(sum(parts, [])) == sorted(planned('1/1'))
    assert {len(part) for part in parts} == {2, 3}
    assert ran(workdir) == []
    assert run([*arguments, '--shard=5/4']) == 2


def test_a_run_that_another_process_does_is_left_alone(stand_in, capsys):
    workdir, run = stand_in
    with runner._lock(workdir / 'demo' / 'dien-base' / '0') as locked:
        assert locked
        assert run(['--table=dien-1', '--pair=demo', '--row=Base']) == 1
    assert 'another process is running' in capsys.readouterr().err
    assert ran(workdir) == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--table=dien'], "table 'dien' does not exist"),
        ([], '--table is missing'),
        (['--table=dien-1', '--pair=demos'], "pair 'demos' has no config file"),
        (['--table=dien-1', '--seeds=0'], "--seeds is '0'"),
        (['--table=dien-1', '--shard=0/2'], "--shard is '0/2'"),
        (['--table=dien-1', '--pair=demo', '--config.method.momentom=1'], 'momentom'),
        (['--table=dien-1', '--row=dien', '--config.method.passes=-1'], 'passes is -1; expected 0'),
        (['--table=ptl-3', '--pair=demo', '--teacher.method.batch=0'], 'batch is 0; expected 1'),
        (['--table=dien-1', '--what'], 'unknown arguments --what'),
    ],
)
def test_wrong_arguments_are_answered(arguments, message, capsys, tmp_path):
    code = command.main([*arguments, f'--workdir={tmp_path}', '--dry-run'])
    output = capsys.readouterr()
    assert message in output.err + output.out
    assert code == 2 or 'no run' in output.out


PAIR = """
from jreid.configs import duke2market


def get_config(variant):
    config = duke2market.get_config(variant)
    config.data.source = config.data.target = 'market1501'
    config.data.source_root, config.data.target_root = {source!r}, {target!r}
    options = {{'attributes': False, 'expected': False}}
    config.data.source_options = config.data.target_options = options
    config.data.height, config.data.width = 32, 16
    config.model.backbone = 'tiny_cnn'
    config.figures.enabled = False
    config.method.joint_epochs = 1
    config.method.identities_per_batch = 4
    config.method.target_batch = 12
    config.method.embedding_width = 16
    return config
"""


@pytest.mark.slow
def test_a_row_for_real_from_another_folder(people, tmp_path, monkeypatch):
    """The program as a user starts it, on a pair of one's own; the second time nothing runs."""
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'tiny.py').write_text(
        PAIR.format(source=str(people / 'one'), target=str(people / 'two'))
    )
    arguments = ['--table=dien-1', '--pair=mine/tiny.py', '--row=Base', '--workdir=runs']
    environment = {
        'JREID_CACHE': str(people / 'cache'),
        'JREID_MALLOC': 'system',
        'JAX_PLATFORMS': 'cpu',
        'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.jax_cache'),
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        'XLA_FLAGS': os.environ['XLA_FLAGS'],
        'PATH': '/usr/bin:/bin',
        'HOME': str(tmp_path),
    }
    words = [sys.executable, str(ROOT / 'scripts' / 'reproduce.py'), *arguments]
    run = tmp_path / 'runs' / 'tiny' / 'dien-base' / '0'
    started = []
    for _ in range(2):
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        started.append((run / 'log.txt').stat().st_mtime_ns)
    assert started[0] == started[1]
    monkeypatch.chdir(tmp_path)
    assert command.main([*arguments, '--row=Base+DC', '--collect']) == 0
    rows = read_csv(tmp_path / 'runs' / 'tables' / 'dien-1-tiny.csv')
    summary = json.loads((run / 'summary.json').read_text())
    assert float(rows['Base']['mAP mean']) == pytest.approx(summary['source_only']['mAP'], abs=1e-3)
    assert summary['images_seen'] > 0
    assert float(rows['Base']['images seen']) == summary['images_seen']
    assert (rows['Base+DC']['runs'], rows['Base+DC']['note']) == ('0', 'not run')


# A command that goes on in the next line is one line.
PAGES = [
    re.sub(r'\\\n\s*', '', (ROOT / name).read_text()) for name in ('README.md', 'docs/tables.md')
]
WRITTEN = sorted(
    {
        line.split('#')[0].strip()
        for page in PAGES
        for line in re.findall(
            r'^(?:python scripts/reproduce.py|jreid reproduce) (.*)$', page, re.MULTILINE
        )
    }
)


@pytest.mark.parametrize('words', WRITTEN)
def test_commands_of_the_pages_plan_runs(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = words.split()
    assert (
        command.main(
            [*arguments, *([] if {'--list', '--dry-run'} & set(arguments) else ['--dry-run'])]
        )
        == 0
    )
    output = capsys.readouterr().out
    assert 'dien-1: DIEN' in output if '--list' in arguments else output.count('jreid train') >= 10
