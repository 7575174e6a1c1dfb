"""The page of every config field is what its script makes of the source, and leaves none out."""

import importlib.util
import pathlib
import re

import pytest

from jreid.commands.fields import field_names
from jreid.configs import base, variants

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'config.md').read_text()
ROW = re.compile(r'^\| `([\w.]+)` \| (.*?) \| `(.*?)` \| (.*) \|$', re.MULTILINE)


@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location(
        'write_config_page', ROOT / 'scripts' / 'write_config_page.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_in_step_with_the_comments(script):
    assert script.page() == PAGE, 'run python scripts/write_config_page.py'


@pytest.mark.parametrize('system', sorted(variants.SYSTEMS))
def test_every_field_of_a_system_is_on_the_page(system):
    config = base.get_config(next(iter(variants.SYSTEMS[system].variants)))
    fields = set(field_names(config)) - {'variant', 'method.name'}
    options = ('data.source_options.', 'data.target_options.', 'model.options.')
    listed = {name for name, *_ in ROW.findall(PAGE)}
    assert sorted(name for name in fields - listed if not name.startswith(options)) == []


def test_every_field_says_what_it_is():
    assert [name for name, _, _, comment in ROW.findall(PAGE) if not comment.strip()] == []


@pytest.mark.parametrize(
    'name', ['seed', 'data.height', 'evaluation.rerank_lambda', 'train.remat', 'figures.queries']
)
def test_defaults_on_the_page_are_the_configs(name):
    value = base.get_config('dmtnet')
    for part in name.split('.'):
        value = value[part]
    assert {field: default for field, _, default, _ in ROW.findall(PAGE)}[name] == repr(value)


def test_comments_above_and_beside_a_field_are_joined(script):
    source = (
        'def get_config():\n'
        '    # of images\n'
        '    data = config.data = ConfigDict()\n'
        '    # folder that\n'
        '    # holds a | b\n'
        "    data.root = 'x'  # by name\n"
        '    data.low, data.high = 1, 2.5\n'
    )
    groups = script.base_fields(source)
    assert groups['data'] == (
        'of images',
        [
            ('root', 'str', "'x'", 'folder that holds a | b; by name'),
            ('low', 'int', '1', ''),
            ('high', 'float', '2.5', ''),
        ],
    )
    assert "| `data.root` | str | `'x'` | folder that holds a \\| b; by name |" in script.table(
        groups['data'][1], 'data'
    )
    with pytest.raises(ValueError, match='no function get_config'):
        script.base_fields('x = 1\n')


@pytest.mark.parametrize(
    ('annotation', 'words'),
    [
        ('Size', 'int, 1 or more'),
        ('Share', 'float, a number from 0 to 1'),
        ('Optimizer', "'adam', 'adamw', 'sgd'"),
        ("Literal['a', 'b']", "'a', 'b'"),
        ('Annotated[int, at_least(2)]', 'int, 2 or more'),
        ('tuple[float, float]', 'tuple of 2: float'),
        ('tuple[Share, ...]', 'tuple of: float, a number from 0 to 1'),
        ('Domains', "'none', 'source', 'target', 'both'"),
    ],
)
def test_types_are_told_in_words(script, annotation, words):
    assert script.kind_of(annotation) == words
