"""`jreid list` and `jreid completion`."""

import shutil
import subprocess

import pytest

from jreid import configs
from jreid.commands import cli
from jreid.configs import variants
from jreid.data.datasets import LOADERS
from jreid.models import BACKBONES


def test_list_names_everything_with_its_paper(capsys):
    assert cli.main(['list']) == 0
    output = capsys.readouterr().out
    first_words = {line.split()[0] for line in output.splitlines() if line.strip()}
    for names in (configs.files(), variants.VARIANTS, BACKBONES, LOADERS):
        assert set(names) <= first_words
    assert 'dmtnet: Wang & Hu 2020' in output
    assert 'row MTwCNet' in output
    assert max(map(len, output.splitlines())) <= 110


def test_list_of_one_part(capsys):
    assert cli.main(['list', 'backbones']) == 0
    output = capsys.readouterr().out
    assert 'resnet50' in output
    assert 'duke2market' not in output
    with pytest.raises(SystemExit) as end:
        cli.main(['list', 'papers'])
    assert end.value.code == 2
    assert 'papers' in capsys.readouterr().err


@pytest.mark.parametrize('shell', ['zsh', 'fish', 'tcsh'])
def test_completion_of_other_shells_names_the_commands(shell, capsys):
    assert cli.main(['completion', shell]) == 0
    output = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert name in output


TRY = """
source {script}
of() {{
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  $(complete -p jreid | sed 's/.*-F \\([^ ]*\\).*/\\1/')
  echo "${{COMPREPLY[*]}}"
}}
of jreid tr
of jreid train --config du
of jreid train --config.seed = 1 --config = du
of jreid train --config =
of jreid rank --other
of jreid list ''
"""


@pytest.mark.skipif(shutil.which('bash') is None, reason='bash is not installed')
def test_bash_completes(tmp_path, capsys):
    """In a real bash, which makes three words of --config=du."""
    assert cli.main(['completion', 'bash']) == 0
    script = tmp_path / 'jreid.bash'
    script.write_text(capsys.readouterr().out)
    answer = subprocess.run(
        ['bash', '-c', TRY.format(script=script)], capture_output=True, text=True, check=True
    )
    pairs = 'duke duke2market duke2prid duke2viper'
    lines = [line.strip() for line in answer.stdout.splitlines()]
    assert lines[:3] == ['train', pairs, pairs]
    assert lines[3].split() == list(configs.files())
    assert lines[4:] == ['--other-cameras', 'pairs variants backbones data']
    assert answer.stderr == ''
