"""`jreid train` and `jreid label`: answers to a wrong field, file or folder, from anywhere."""

import pathlib
import signal
import sys

import flagged
import pytest
from programs import ROOT

from jreid import configs
from jreid.commands import console, train
from jreid.training import loop, stopping


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


# -- in this process ----------------------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """`trained(*words)` -> status; `trained.runs` has config and folder of each run begun."""

    def call(*words):
        return flagged.run(train, monkeypatch, *words)

    call.runs = []
    monkeypatch.setattr(loop, 'train', lambda config, workdir: call.runs.append((config, workdir)))
    monkeypatch.chdir(tmp_path)
    return call


def test_fields_and_options_of_the_command_line_reach_the_run(trained):
    words = ['--config.seed=7', '--config.data.target_options.domain=mine']
    assert trained('--config=demo:source-only', *words, '--config.model.options.depth', 2) == 0
    assert trained('--config', 'duke2market', '--workdir=there') == 0
    (config, workdir), (other, there) = trained.runs
    assert (config.variant, config.seed, workdir) == ('source-only', 7, 'runs/demo-source-only-7')
    assert config.data.target_options.domain == 'mine'
    assert config.model.options.depth == 2
    assert (other.variant, other.seed, there) == ('dmtnet', 0, 'there')
    assert 'depth' not in other.model.options


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], '--config=PAIR is missing, e.g. --config=demo'),
        (['--config=dem'], 'config file dem does not exist (did you mean demo?)'),
        (['--config=demo:mtwcne'], "variant 'mtwcne' does not exist (did you mean 'mtwcnet'?)"),
        (['--config=demo', '--config.sed=1'], 'the config has no field sed (--config.sed=1)'),
        (['--config=demo', '--config.seed=a'], '--config.seed=a: invalid literal'),
        (['--config=demo', '--wrkdir=x'], "Unknown command line flag 'wrkdir'"),
        (['--wrkdir=x'], "Unknown command line flag 'wrkdir'"),
        (['--config=demo', '--config.model.options.a='], '--config.model.options.a= has no value'),
        (['--config=demo', 'more'], 'unexpected arguments more; fields are set as'),
        (['--config=demo', '--config.variant=ptl'], 'but config.method holds the settings of dmt'),
        (
            ['--config=demo', '--coordinator=a:1', '--processes=2'],
            '--coordinator needs --processes',
        ),
        (['--config=torn.py'], 'torn.py is no config file, which is Python: '),
    ],
)
def test_wrong_words_begin_no_run(trained, words, message, capsys):
    pathlib.Path('torn.py').write_text('def get_config(\n')
    assert trained(*words) == 2
    assert message in capsys.readouterr().err
    assert trained.runs == []


def test_traceback_shows_what_a_config_file_raises(trained):
    pathlib.Path('wrong.py').write_text(
        'def get_config(variant=""):\n    raise ValueError("mine")\n'
    )
    assert trained('--config=wrong.py') == 2
    with pytest.raises(ValueError, match='mine'):
        trained('--config=wrong.py', '--traceback')


def test_processes_meet_before_they_train(trained, monkeypatch):
    met = []
    monkeypatch.setattr(train.sharding, 'connect', lambda *of: met.append((of, len(trained.runs))))
    words = ['--coordinator=host:1234', '--processes=3', '--process=2']
    assert trained('--config=demo', *words) == 0
    assert met == [(('host:1234', 3, 2), 0)]
    assert len(trained.runs) == 1


@pytest.mark.parametrize(
    ('raised', 'message', 'number'),
    [
        (KeyboardInterrupt(), 'stopped; {again} the last checkpoint', signal.SIGINT),
        (stopping.Stopped('stopped at step 3'), 'stopped at step 3; {again} there', signal.SIGTERM),
    ],
)
def test_a_stopped_run_says_how_it_goes_on(trained, monkeypatch, raised, message, number):
    def stops(config, workdir):
        raise raised

    ends = []
    monkeypatch.setattr(loop, 'train', stops)
    monkeypatch.setattr(console, 'stop', lambda *told: ends.append(told))
    before = signal.getsignal(signal.SIGTERM)
    trained('--config=demo', '--workdir=w')
    again = 'the same command with --workdir=w goes on from'
    assert ends == [(message.format(again=again), number)]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_error_of_a_run_is_a_line_unless_all_of_it_is_wanted(trained, monkeypatch):
    def fails(config, workdir):
        raise FileNotFoundError('no data there')

    monkeypatch.setattr(loop, 'train', fails)
    expected = 'FileNotFoundError: no data there (--traceback shows where)'
    assert trained('--config=demo') == expected
    with pytest.raises(FileNotFoundError, match='no data there'):
        trained('--config=demo', '--traceback')


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (['--config=demo:ptl'], ['--config={}']),
        (['-config=demo:ptl'], ['--config={}']),
        (['--config', 'demo:ptl'], ['--config', '{}']),
        (['-config', 'demo:ptl'], ['-config', '{}']),
        ([], []),
    ],
)
def test_a_config_by_name_becomes_its_file_in_every_form(given, expected):
    """Words that look the same stay."""
    file = f'{configs.files()["demo"]}:ptl'
    found = train._with_config_path(['jreid', '--workdir=demo:ptl', *given, 'demo:ptl'])
    assert found == ['jreid', '--workdir=demo:ptl', *(x.format(file) for x in expected), 'demo:ptl']
    assert train._config_word(['jreid', *given, 'x']) == ('demo:ptl' if given else '')


def test_neighbours_of_a_config_file_come_last_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', ['/first'])
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'pair.py').touch()
    train._with_config_path(['jreid', f'--config={tmp_path}/mine/pair.py'])
    train._with_config_path(['jreid', '--config=demo'])
    assert sys.path == ['/first', str(tmp_path)]


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
