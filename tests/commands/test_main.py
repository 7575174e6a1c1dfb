"""The command: what it says when a flag, a field, a file or a folder is wrong, and that it runs
from anywhere.
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def command(*arguments, cwd=ROOT, module='jreid.main', **environment):
    """The program's exit code and what it said."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', **environment}
    done = subprocess.run(
        [sys.executable, '-m', module, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ('arguments', 'messages'),
    [
        (
            ['--config.method.learnin_rate=1'],
            ['the config has no field method.learnin_rate', 'did you mean method.learning_rate'],
        ),
        (
            ['--config.learning_rate=1'],
            ['the config has no field learning_rate', 'did you mean method.learning_rate'],
        ),
        (['--config.seed=a'], ['--config.seed=a', "invalid literal for int() with base 10: 'a'"]),
    ],
)
def test_wrong_field_is_told_in_a_line_with_the_right_one(arguments, messages):
    code, told = command('--config=configs/demo.py', *arguments)
    assert code != 0
    assert all(message in told for message in messages), told
    assert 'Traceback' not in told


@pytest.mark.parametrize(
    ('config', 'messages'),
    [
        (
            'configs/dem.py',
            [
                'config file configs/dem.py does not exist (did you mean configs/demo.py?)',
                'configs/duke2market.py',
            ],
        ),
        (
            'configs/demo.py:mtwcne',
            ["variant 'mtwcne' does not exist (did you mean 'mtwcnet'?)", 'source-only'],
        ),
        ('', ['--config=configs/PAIR.py is missing']),
    ],
)
def test_wrong_config_is_told_with_those_that_exist(config, messages):
    code, told = command(*([f'--config={config}'] if config else []))
    assert code != 0
    assert all(message in told for message in messages), told
    assert 'Error whilst parsing' not in told


def test_labelling_answers_like_training(tmp_path):
    """The same words for a wrong field and a wrong folder, in a line; options of loaders are
    taken.
    """
    words = ['--config=configs/demo.py', f'--teacher={tmp_path}', f'--out={tmp_path / "out"}']
    code, told = command(*words, '--config.sed=1', module='jreid.commands.label')
    assert code != 0
    assert 'the config has no field sed' in told, told
    code, told = command(
        *words, '--config.data.target_options.title=mine', module='jreid.commands.label'
    )
    assert code != 0
    assert (
        told.strip().splitlines()[-1].startswith(f'FileNotFoundError: {tmp_path} holds no run')
    ), told
    assert 'Traceback' not in told


@pytest.mark.slow
def test_missing_data_are_told_from_another_folder_with_an_absolute_config(tmp_path):
    """The config was found, the folder of the run is made where the command ran, and the message
    names the set's folder.
    """
    code, told = command(
        f'--config={ROOT}/configs/duke2market.py',
        '--workdir=runs/one',
        '--config.data.root=nowhere',
        cwd=tmp_path,
    )
    assert code != 0
    assert 'nowhere' in told.splitlines()[-1], told
    assert (tmp_path / 'runs' / 'one' / 'config.json').is_file()


@pytest.mark.slow
def test_run_from_another_folder_names_its_folder_after_pair_variant_and_seed(people, tmp_path):
    """`--config FILE` as two words; edits of fields arrive; a whole run ends with a table."""
    roots = [
        f'--config.data.{role}={value}'
        for role, value in (
            ('source_root', people / 'one'),
            ('target_root', people / 'two'),
            ('source', 'market1501'),
        )
    ]
    sizes = [
        'data.height=32',
        'data.width=16',
        'model.backbone=tiny_cnn',
        'augment.pad=2',
        'method.identities_per_batch=4',
        'method.source_epochs=1',
        'seed=3',
    ]
    options = (
        "    for role in ('source', 'target'):\n        config.data[f'{role}_options'] ="
        " {'attributes': False, 'expected': False}\n"
    )
    text = (
        (ROOT / 'configs' / 'duke2market.py')
        .read_text()
        .replace('    return config', f'{options}    return config')
    )
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'pair.py').write_text(text)
    where = {'cwd': tmp_path, 'PYTHONPATH': str(ROOT), 'JREID_CACHE': str(people / 'cache')}
    code, told = command(
        '--config',
        'mine/pair.py:source-only',
        *roots,
        *(f'--config.{size}' for size in sizes),
        '--config.figures.enabled=False',
        **where,
    )
    assert code == 0, told
    assert (tmp_path / 'runs' / 'pair-source-only-3' / 'summary.json').is_file()
    assert 'source only (direct transfer)' in told
