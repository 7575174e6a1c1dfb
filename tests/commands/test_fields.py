"""Fields of a config, and options of loaders and backbones, on the command line."""

import pytest
from programs import ROOT

from jreid.commands import fields
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
    rest, options = fields.split_options(argv, KNOWN)
    assert options == {'data.target_options.split_seed': '3', 'model.options.last_stride': '2'}
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
            fields.split_options(['main', *missing], KNOWN)


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
    assert fields.parse_value(text) == value
    assert type(fields.parse_value(text)) is type(value)


def test_options_are_put_into_a_locked_config():
    config = base.get_config()
    config.data.target_options.lock()
    options = {'data.target_options.split_seed': '3', 'model.options.widths': '(4, 8)'}
    fields.set_options(config, options)
    assert config.data.target_options.to_dict() == {'split_seed': 3}
    assert config.model.options.widths == (4, 8)
    assert config.is_locked
    assert config.data.target_options.is_locked


def test_options_arrive_and_a_wrong_one_is_answered_with_those_there_are(program, tmp_path):
    """The loader checks its options before it reads data."""
    words = ['--config.data.source_options.expectd=False']
    code, output = program(
        'jreid.main',
        f'--config={ROOT}/configs/duke2market.py',
        '--workdir=run',
        *words,
        cwd=tmp_path,
    )
    assert code != 0
    assert (
        "dukemtmc has no option 'expectd' (did you mean 'expected'?); it has: attributes, expected,"
        ' bad_files' in output
    ), output


def test_a_program_sets_fields_as_the_command_line_does():
    words = ['--config.seed=4', '--config.data.height', '64', '--config.model.options.depth=2']
    config = fields.set_fields(base.get_config(), words)
    assert (config.seed, config.data.height, config.model.options.depth) == (4, 64, 2)
    assert config.is_locked
    names = fields.field_names(config)
    assert {'seed', 'data.height', 'model.options.depth', 'data.target_options'} <= set(names)


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('--config.sed=1', r'no field sed \(--config.sed=1\); did you mean seed'),
        ('--config.height=1', r'no field height .*; did you mean data.height'),
        ('--config.seed=a', '^--config.seed=a: .*invalid literal for int'),
        ('--config.method.neck=maybe', '^--config.method.neck=maybe: expected True or False$'),
        ('--config.model.options.a=', '--config.model.options.a= has no value; expected'),
        ('extra', 'unexpected arguments extra; fields are set as --config.field=value'),
    ],
)
def test_a_wrong_field_of_a_program_is_an_error(word, message):
    with pytest.raises(ValueError, match=message):
        fields.set_fields(base.get_config(), [word])


def test_a_group_set_as_a_whole_does_not_hide_the_wrong_field():
    known = ['data.target_options.domain', 'method.margin', 'seed']
    words = ['--config.data.target_options={}', '--config.data.source_options={}']
    assert fields.unknown_field(words, known) == ''
    assert 'no field sed' in fields.unknown_field([*words, '--config.sed=1'], known)
