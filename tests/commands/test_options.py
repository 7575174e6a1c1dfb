"""Options of loaders and backbones on the command line."""

import json

import pytest
from test_main import ROOT, command

from jreid.commands import options
from jreid.configs import base

KNOWN = ['seed', 'data.source_options.domain', 'data.target_options']


def test_unknown_options_are_taken_out_and_the_rest_stays():
    argv = [
        'main',
        '--config=configs/demo.py',
        '--config.data.source_options.domain=campus',
        '--config.data.target_options.split_seed=3',
    ]
    argv += [
        '-config.model.options.last_stride',
        '2',
        '--config.seed',
        '4',
        '--config.data.source_optionsx.a=1',
        '--workdir=w',
    ]
    rest, found = options.split(argv, KNOWN)
    assert found == {'data.target_options.split_seed': '3', 'model.options.last_stride': '2'}
    assert rest == [
        a for a in argv if 'split_seed' not in a and 'last_stride' not in a and a != '2'
    ]
    for missing in (
        ['--config.model.options.a'],
        ['--config.model.options.a='],
        ['--config.model.options.a', '--config.seed=1'],
    ):
        with pytest.raises(
            ValueError,
            match=r'config.model.options.a=? has no value; expected --config.model.options.a=VALUE',
        ):
            options.split(['main', *missing], KNOWN)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('3', 3),
        ('0.5', 0.5),
        ('true', True),
        ('False', False),
        ('None', None),
        ('(8, 16)', (8, 16)),
        ('[8, 16]', (8, 16)),
        ('a2b', 'a2b'),
        ('/d/x.mat', '/d/x.mat'),
    ],
)
def test_values_are_what_python_writes_or_text(text, value):
    assert options.literal(text) == value
    assert type(options.literal(text)) is type(value)


def test_options_are_put_into_a_locked_config():
    config = base.get_config().lock()
    options.put(config, {'data.target_options.split_seed': '3', 'model.options.widths': '(4, 8)'})
    assert config.data.target_options.to_dict() == {'split_seed': 3}
    assert config.model.options.widths == (4, 8)
    assert config.is_locked
    assert config.data.target_options.is_locked


def test_options_arrive_and_wrong_ones_are_told_with_those_there_are(tmp_path):
    """The loader knows its options before anything is read; the run's config.json has what was
    given.
    """
    given = [
        '--config.data.source_options.expectd=False',
        '--config.data.target_options.split_seed=3',
        '--config.model.options.last_stride=2',
    ]
    code, told = command(
        f'--config={ROOT}/configs/duke2market.py', '--workdir=run', *given, cwd=tmp_path
    )
    assert code != 0
    assert (
        "dukemtmc has no option 'expectd' (did you mean 'expected'?); it has: attributes, expected,"
        ' bad_files' in told
    ), told
    found = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert found['data']['source_options'] == {'expectd': False}
    assert found['data']['target_options'] == {'split_seed': 3}
    assert found['model']['options'] == {'last_stride': 2}
