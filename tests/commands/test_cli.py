"""`jreid COMMAND`: the shared help, and how a command starts."""

import os
import signal
import sys
from types import SimpleNamespace

import pytest
from programs import ROOT

from jreid.commands import allocation, cli, console

NAMES = [
    'train',
    'evaluate',
    'extract',
    'export',
    'rank',
    'visualize',
    'label',
    'report',
    'collect',
    'reproduce',
    'convert',
    'list',
    'completion',
    'synthesize',
]


def test_help_names_every_command(capsys):
    assert cli.main([]) == 0
    output = capsys.readouterr().out
    for name in NAMES:
        assert f'\n  {name} ' in output
    assert list(cli.COMMANDS) == NAMES
    assert cli.main(['--version']) == 0
    assert capsys.readouterr().out.startswith('jreid 0.')


@pytest.mark.parametrize('name', NAMES)
def test_every_command_has_help_of_its_own(name, capsys):
    try:
        code = cli.main([name, '--help'])
    except SystemExit as error:
        code = error.code
    assert code == 0
    assert capsys.readouterr().out.startswith(f'usage: jreid {name}')


def test_unknown_command_is_answered_with_the_nearest(capsys):
    assert cli.main(['trian']) == 2
    assert "there is no command 'trian' (did you mean 'train'?)" in capsys.readouterr().err


def test_an_error_of_a_command_is_one_line(tmp_path, capsys):
    assert cli.main(['visualize', str(tmp_path), '--images', 'x.jpg', '--out', 'out']) == 1
    assert capsys.readouterr().err.startswith(f'{tmp_path} holds no run')
    assert cli.main(['collect', str(tmp_path)]) == 1
    assert 'holds no finished run' in capsys.readouterr().err


def test_a_program_is_started_again_only_for_training_and_only_once(monkeypatch, capsys):
    """A call from Python never restarts the process that it comes from."""
    started = []
    monkeypatch.setattr(allocation, 'start_again', lambda: started.append('again'))
    monkeypatch.setattr(cli, '_run_with_flags', lambda module, argv: started.append(argv) or 0)
    words = ['--config=configs/demo.py', '--config.seed=1']
    assert cli.main(['train', *words]) == 0
    assert started == [['jreid train', *words]]
    started.clear()
    for name, expected in (
        ('train', ['again', ['jreid train', *words]]),
        ('label', [['jreid label', *words]]),
    ):
        monkeypatch.setattr('sys.argv', ['/bin/jreid', name, *words])
        assert cli.main() == 0
        assert started == expected
        started.clear()
    monkeypatch.setattr('sys.argv', ['/bin/jreid', 'train', '--help'])
    assert cli.main() == 0
    assert started == []
    assert 'usage: jreid train' in capsys.readouterr().out


def imported(monkeypatch, **functions):
    """Lets every command's module have these functions alone."""
    module = SimpleNamespace(**functions)
    monkeypatch.setattr(cli, 'importlib', SimpleNamespace(import_module=lambda name: module))


def test_flags_are_parsed_by_the_command_itself(monkeypatch, tmp_path):
    """It finds its words in `sys.argv` and modules of the working folder behind all others."""
    seen = []
    imported(monkeypatch, run=seen.append)
    monkeypatch.setattr('sys.argv', ['jreid'])
    monkeypatch.setattr('sys.path', ['/first'])
    monkeypatch.chdir(tmp_path)
    assert cli.main(['train', '--config=demo']) == 0
    assert seen == [sys.argv] == [['jreid train', '--config=demo']]
    assert sys.path == ['/first', str(tmp_path)]


def raising(monkeypatch, error):
    """Lets the command `list` end with an error."""

    def main(rest, prog):
        raise error

    imported(monkeypatch, main=main)
    monkeypatch.setattr('sys.argv', ['jreid', 'list'])


def test_ctrl_c_ends_a_program_and_is_raised_to_python(monkeypatch):
    raising(monkeypatch, KeyboardInterrupt())
    ends = []
    monkeypatch.setattr(console, 'stop', lambda *told: ends.append(told))
    with pytest.raises(KeyboardInterrupt):
        cli.main(['list'])
    assert ends == []
    cli.main()
    assert ends == [('stopped', signal.SIGINT)]


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch):
    """Of a program, what is still to be written goes nowhere: Python flushes it at its end."""
    raising(monkeypatch, BrokenPipeError())
    assert cli.main(['list']) == 0
    duplicates = []
    monkeypatch.setattr(os, 'dup2', lambda *of: duplicates.append(of))
    monkeypatch.setattr(os, 'open', lambda path, mode: path)
    monkeypatch.setattr('sys.stdout', SimpleNamespace(fileno=lambda: 7))
    assert cli.main() == 0
    assert duplicates == [(os.devnull, 7)]


def test_an_error_that_a_command_does_not_catch_is_one_line(monkeypatch, capsys):
    raising(monkeypatch, ValueError('no such pair'))
    assert cli.main(['list']) == 1
    assert capsys.readouterr().err == 'jreid list: no such pair\n'


def test_train_is_jreid_main(program, tmp_path):
    """In a process of its own; the message of a wrong field comes through."""
    words = [f'--config={ROOT}/configs/demo.py', '--config.sed=1']
    answers = [
        program(module, *first, *words, cwd=tmp_path)
        for module, first in (('jreid.main', []), ('jreid.commands.cli', ['train']))
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 2
    assert answers[0][1].startswith('the config has no field sed (--config.sed=1); did you mean')


def test_synthesize_writes_a_tree(tmp_path, capsys):
    words = [
        'synthesize',
        *('--out', str(tmp_path / 'tree'), '--identities', '2', '--test-identities', '2'),
        *('--cameras', '2', '--distractors', '0', '--junk', '0', '--size', '32', '16'),
        *('--workers', '1', '--images-per-camera'),
    ]
    assert cli.main([*words, '2']) == 0
    assert len(list((tmp_path / 'tree' / 'bounding_box_train').glob('*.jpg'))) == 8
    assert 'images' in capsys.readouterr().out
    assert cli.main([*words, '1']) == 1
    assert 'images_per_camera is 1; expected 2' in capsys.readouterr().err


def test_package_has_the_console_command():
    assert 'jreid = "jreid.commands.cli:main"' in (ROOT / 'pyproject.toml').read_text()
