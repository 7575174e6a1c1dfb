"""What commands show of the logs, and how they refuse."""

import logging
import re
import shutil
import warnings

import absl.logging
import pytest
from PIL import Image

from jreid.commands import console
from jreid.run.checkpoints import Checkpoints


@pytest.fixture
def quiet_afterwards():
    """Puts the loggers that the console sets back to what they were."""
    names = ('absl', 'jax', 'jreid', 'orbax', None)
    levels = {name: logging.getLogger(name).level for name in names}
    handler, verbosity = absl.logging.get_absl_handler(), absl.logging.get_verbosity()
    formatter, handlers = handler.formatter, list(logging.root.handlers)
    yield
    absl.logging.set_verbosity(verbosity)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    handler.setFormatter(formatter)
    logging.root.handlers[:] = handlers


def test_opening_checkpoints_does_not_make_absl_talk_again(tmp_path, quiet_afterwards):
    console.show_log()
    assert not logging.getLogger('absl').isEnabledFor(logging.WARNING)
    Checkpoints(tmp_path / 'checkpoints', read_only=True).close()
    absl.logging.set_verbosity(absl.logging.get_verbosity())  # as parsing a flag does
    assert not logging.getLogger('absl').isEnabledFor(logging.WARNING)


def test_without_the_console_orbax_tells_no_files(tmp_path, quiet_afterwards, caplog):
    logging.getLogger('absl').setLevel(logging.NOTSET)
    caplog.clear()
    Checkpoints(tmp_path / 'checkpoints', read_only=True).close()
    assert logging.getLogger('absl').level == logging.WARNING
    assert not caplog.records  # nor that it only reads, to a notebook that loads a run


def test_lines_are_plain_under_absls_own_handler(quiet_afterwards):
    """absl's app puts it at the root; its own lines begin with a letter, a date and a thread."""
    handler = absl.logging.get_absl_handler()
    logging.root.handlers[:] = [handler]
    console.show_log()
    record = logging.LogRecord('jreid', logging.INFO, 'a.py', 1, 'made of %d images', (3,), None)
    assert handler.format(record) == 'made of 3 images'
    assert logging.getLogger('jreid').isEnabledFor(logging.INFO)
    assert not logging.getLogger('absl').isEnabledFor(logging.WARNING)


def test_the_training_log_has_the_time_and_leaves_the_bar_whole(
    quiet_afterwards, monkeypatch, capsys
):
    log = logging.getLogger('jreid')
    for name, value in (('handlers', []), ('propagate', True)):
        monkeypatch.setattr(log, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter('default')
        console.show_training_log()
        log.info('epoch %d', 3)
        log.debug('no news')
        logging.getLogger('orbax').warning('a file')
        logging.getLogger('absl').warning('a letter')
        warnings.warn('two images are left out', stacklevel=1)
        warnings.warn('soon gone', FutureWarning, stacklevel=1)
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r'\d\d:\d\d:\d\d ', line) for line in lines), lines
    assert [line[9:] for line in lines] == [
        'epoch 3',
        'two images are left out',
        'FutureWarning: soon gone',
    ]


def test_a_refusal_is_a_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as end:
        console.refuse('no such config')
    assert end.value.code == 2
    assert capsys.readouterr().err == 'no such config\n'


def test_commands_print_no_warning_of_orbax(program, source_only_run, people, tmp_path):
    image = next((people / 'two' / 'query').glob('*.jpg'))
    shutil.copy(image, tmp_path / 'one.jpg')
    words = ['extract', source_only_run, 'one.jpg', '--out=one.npz']
    code, output = program('jreid.commands.cli', *words, cwd=tmp_path)
    assert code == 0, output
    assert output.splitlines() == ['one.npz: 1 images, 32 numbers each'], output


@pytest.mark.parametrize(
    ('words', 'status', 'message'),
    [
        (['rank', 'nosuch.npz', 'one.jpg'], 1, 'nosuch.npz'),
        (['extract', 'nowhere', '.', '--out=x.npz'], 1, 'nowhere holds no run'),
        (['evaluate', 'nowhere'], 1, 'nowhere holds no run'),
        (['visualize', 'nowhere', '--images', 'x.jpg', '--out=o'], 1, 'nowhere holds no run'),
        (['report', 'nowhere'], 1, 'nowhere holds no finished run'),
        (['collect', 'nowhere'], 1, 'nowhere holds no finished run'),
        (['convert', 'none.pth', 'out.safetensors'], 1, 'none.pth'),
        (['reproduce', '--table=none-1'], 2, "table 'none-1' does not exist"),
        (['train'], 2, '--config=PAIR is missing'),
        (['train', '--config=demo', '--wrkdir=x'], 2, 'Did you mean: workdir'),
        (['train', '--config=demo', 'more'], 2, 'unexpected arguments more'),
        (['label', '--config=demo'], 2, '--teacher, --out missing'),
    ],
)
def test_wrong_words_are_answered_in_one_line(program, tmp_path, words, status, message):
    Image.new('RGB', (8, 16)).save(tmp_path / 'x.jpg')
    code, output = program('jreid.commands.cli', *words, cwd=tmp_path)
    assert code == status, output
    assert message in output
    assert len(output.strip().splitlines()) == 1, output
    assert [path.name for path in tmp_path.iterdir()] == ['x.jpg']


def test_images_left_out_are_said_in_a_plain_line(program, source_only_run, people, tmp_path):
    image = next((people / 'two' / 'query').glob('*.jpg'))
    (tmp_path / 'images').mkdir()
    shutil.copy(image, tmp_path / 'images' / 'one.jpg')
    (tmp_path / 'images' / 'none.jpg').touch()
    (tmp_path / 'images' / 'torn.jpg').write_bytes(image.read_bytes()[:200])
    words = ['extract', source_only_run, 'images', '--out=one.npz', '--skip-bad']
    code, output = program('jreid.commands.cli', *words, cwd=tmp_path)
    assert code == 0, output
    first, second, third = output.splitlines()
    assert first.startswith('left out: 1 of 3 images in')
    assert second.startswith('1 of 2 images cannot be read and are left out, e.g.')
    assert third == 'one.npz: 1 images, 32 numbers each'


def test_junk_is_said_in_a_plain_line(program, source_only_run, people, tmp_path):
    for number, image in enumerate(sorted((people / 'two' / 'query').glob('*.jpg'))[:2]):
        shutil.copy(image, tmp_path / f'{number}.jpg')
    (tmp_path / 'list.csv').write_text('image,identity\n0.jpg,3\n1.jpg,-1\n')
    words = ['extract', source_only_run, 'list.csv', '--out=one.npz']
    code, output = program('jreid.commands.cli', *words, cwd=tmp_path)
    assert code == 0, output
    assert output.splitlines()[0] == f'1 images of {tmp_path}/list.csv are junk (-1) and left out'
