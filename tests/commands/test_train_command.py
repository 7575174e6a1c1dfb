"""`jreid train` and `jreid label`: answers to a wrong field, file or folder, from anywhere."""

import pytest
from programs import ROOT


@pytest.mark.parametrize(
    ('words', 'messages'),
    [
        (
            ['--config.method.learnin_rate=1'],
            ['the config has no field method.learnin_rate', 'did you mean method.learning_rate'],
        ),
        (
            ['--config.learning_rate=1'],
            ['the config has no field learning_rate', 'did you mean method.learning_rate'],
        ),
        (['--config.variant=foo'], ["variant 'foo' does not exist", 'mtwcnet']),
        (['--config.seed=a'], ['--config.seed=a', "invalid literal for int() with base 10: 'a'"]),
    ],
)
def test_wrong_field_is_answered_in_a_line_with_the_right_one(program, words, messages):
    code, output = program('jreid.main', '--config=configs/demo.py', *words)
    assert code != 0
    assert all(message in output for message in messages), output
    assert 'Traceback' not in output


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
            'dem:mtwcnet',
            ['config file dem does not exist (did you mean demo?)', 'duke2market', 'mine/pair.py'],
        ),
        (
            'configs/demo.py:mtwcne',
            ["variant 'mtwcne' does not exist (did you mean 'mtwcnet'?)", 'source-only'],
        ),
        ('README.md', ['README.md is no config file, which is Python: ']),
        ('', ['--config=PAIR is missing, e.g. --config=demo', 'jreid list']),
    ],
)
def test_wrong_config_is_answered_with_those_that_exist(program, config, messages):
    code, output = program('jreid.main', *([f'--config={config}'] if config else []))
    assert code == 2
    assert all(message in output for message in messages), output
    assert len(output.splitlines()) == 1
    assert 'Error whilst parsing' not in output


def test_labelling_answers_like_training(program, tmp_path):
    """The same words for a wrong field and a wrong folder, in a line; options of loaders arrive."""
    words = ['--config=configs/demo.py', f'--teacher={tmp_path}', f'--out={tmp_path / "out"}']
    code, output = program('jreid.commands.cli', 'label', *words, '--config.sed=1')
    assert code != 0
    assert 'the config has no field sed' in output, output
    code, output = program(
        'jreid.commands.label', *words, '--config.data.target_options.title=mine'
    )
    assert code != 0
    assert (
        output.strip().splitlines()[-1].startswith(f'FileNotFoundError: {tmp_path} holds no run')
    ), output
    assert 'Traceback' not in output


def test_training_imports_neither_tensorflow_nor_torch(program, tmp_path):
    (tmp_path / 'imported.py').write_text(
        'import sys\n'
        'import jreid.train, jreid.main, jreid.commands.train\n'
        'roots = {name.split(".")[0] for name in sys.modules}\n'
        'print(sorted(roots & {"jax", "tensorflow", "torch"}))\n'
    )
    assert program('imported', cwd=tmp_path) == (0, "['jax']\n")


def test_missing_data_are_named_from_another_folder_with_an_absolute_config(program, tmp_path):
    """The message names the set's folder, and nothing of the run stays."""
    code, output = program(
        'jreid.main',
        f'--config={ROOT}/configs/duke2market.py',
        '--workdir=runs/one',
        '--config.data.root=nowhere',
        cwd=tmp_path,
    )
    assert code != 0
    assert f'{tmp_path}/nowhere: no such folder' in output
    assert 'Traceback' not in output
    assert not any(tmp_path.iterdir())


def test_run_from_another_folder_names_its_folder_after_pair_variant_and_seed(
    program, people, tmp_path
):
    """`--config FILE` as two words; fields arrive; a whole run ends with a table."""
    fields = {
        'data.source': 'market1501',
        'data.source_root': people / 'one',
        'data.target_root': people / 'two',
        'data.height': 32,
        'data.width': 16,
        'model.backbone': 'tiny_cnn',
        'augment.pad': 2,
        'augment.erase_probability': 0.0,  # much of what a step compiles
        'method.identities_per_batch': 4,
        'method.source_epochs': 1,
        'seed': 3,
        'figures.enabled': False,
    }
    # The config imports a module beside it and one of the working folder.
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'pair.py').write_text(PAIR)
    (tmp_path / 'mine' / 'beside.py').write_text(BESIDE)
    (tmp_path / 'working.py').write_text('SPLIT = False\n')
    code, output = program(
        'jreid.main',
        '--config',
        'mine/pair.py:source-only',
        *(f'--config.{name}={value}' for name, value in fields.items()),
        cwd=tmp_path,
        JREID_CACHE=people / 'cache',
    )
    assert code == 0, output
    assert (tmp_path / 'runs' / 'pair-source-only-3' / 'summary.json').is_file()
    assert 'source only (direct transfer)' in output


PAIR = """
from mine.beside import OPTIONS

from jreid.configs import duke2market


def get_config(variant):
    config = duke2market.get_config(variant)
    config.data.source_options = config.data.target_options = OPTIONS
    return config
"""
BESIDE = """
from working import SPLIT

OPTIONS = {'attributes': False, 'expected': SPLIT}
"""
