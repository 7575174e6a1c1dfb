"""The API pages name modules that are there, under their names, and packages say what is public."""

import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs' / 'api'
PUBLIC = ('losses', 'clustering', 'retrieval', 'data', 'models', 'methods', 'figures')


@pytest.mark.parametrize('page', sorted(DOCS.glob('*.md')), ids=lambda path: path.stem)
def test_every_entry_has_its_name_as_heading_and_is_there(page):
    text = page.read_text()
    entries = re.findall(r'^## `([\w.]+)`\n\n::: ([\w.]+)$', text, re.MULTILINE)
    assert len(entries) == text.count(':::') == text.count('\n## ')
    for path in {path for entry in entries for path in entry}:
        module, _, last = path.rpartition('.')
        if not source_of(path):
            assert re.search(rf"(def |class |import |')\b{last}\b", source_of(module)), path


def source_of(module):
    """The text of a module, which is not imported; '' where there is none."""
    place = ROOT.joinpath(*module.split('.'))
    files = (place.with_suffix('.py'), place / '__init__.py')
    return next((file.read_text() or ' ' for file in files if file.is_file()), '')


def test_what_most_programs_need_comes_first():
    headings = re.findall(r'^## `([\w.]+)`', (DOCS / 'runs.md').read_text(), re.MULTILINE)
    assert headings[:3] == [
        'jreid.load_run',
        'jreid.train.train',
        'jreid.commands.evaluate.evaluate_run',
    ]


@pytest.mark.parametrize('name', PUBLIC)
def test_a_package_lists_its_public_names(name):
    package = importlib.import_module(f'jreid.{name}')
    listed = package.__all__
    assert len(set(listed)) == len(listed)
    assert [one for one in listed if not hasattr(package, one)] == []


def test_every_backbone_is_a_public_name_of_the_models():
    models = importlib.import_module('jreid.models')
    assert set(models.BACKBONES) <= set(models.__all__)
