"""The documentation's example of a system trains, and what its pages name is there."""

import importlib.util
import pathlib
import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from jreid import methods
from jreid.commands import cli
from jreid.data.datasets import LOADERS
from jreid.methods import systems
from jreid.tables import catalogue
from jreid.training import loop as train

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted(DOCS.rglob('*.md'))
EXAMPLE = DOCS / 'examples' / 'coral.py'


@pytest.fixture
def coral(monkeypatch):
    """The example as a module, registered for this test only."""
    monkeypatch.setattr(systems, 'METHODS', dict(systems.METHODS))
    spec = importlib.util.spec_from_file_location('coral', EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_coral_loss_against_numpy(coral):
    x, y = np.random.default_rng(0).normal(size=(2, 12, 5)).astype(np.float32)
    y = 2 * y
    expected = np.sum((np.cov(x.T) - np.cov(y.T)) ** 2) / (4 * 5**2)
    np.testing.assert_allclose(coral.coral_loss(x, y), expected, rtol=1e-5)
    assert float(coral.coral_loss(x, x + 3)) == pytest.approx(0, abs=1e-8)


def test_sixth_system_trains_and_evaluates(coral, tiny_config, tmp_path):
    """In under 100 lines, with the one trainer: it learns the source and gives a row of the
    summary.
    """
    assert len(EXAMPLE.read_text().splitlines()) < 100
    config = tiny_config()
    config.variant, config.method = (
        'coral',
        ConfigDict(
            {**coral.SETTINGS, 'epochs': 4, 'identities_per_batch': 4, 'learning_rate': 1e-2}
        ),
    )
    summary = train.train(config, tmp_path / 'run')
    assert summary['adapted']['queries'] == 12
    records = (tmp_path / 'run' / 'metrics.jsonl').read_text()
    assert {'"coral"', '"identity"', '"triplet"'} <= set(re.findall(r'"\w+"', records))


def test_every_data_set_has_its_place_in_the_pages():
    text = (DOCS / 'data.md').read_text()
    assert [name for name in LOADERS if f'`{name}`' not in text] == []


def test_every_system_and_command_has_its_place_in_the_pages():
    assert {path.stem for path in (DOCS / 'systems').glob('*.md')} >= set(methods.METHODS) - {
        'teacher'
    }
    commands = (DOCS / 'commands.md').read_text()
    assert [name for name in cli.COMMANDS if f'jreid {name}' not in commands] == []


def test_the_papers_numbers_are_those_that_are_shipped():
    text = (DOCS / 'tables.md').read_text()
    there = [
        table for table in catalogue.tables().values() if any(row.variant for row in table.rows)
    ]
    assert [table.name for table in there if catalogue.numbers(table) not in text] == []
    assert '| DMTNet | `dmtnet` | 72.9 / 53.8 | 71.5 / 42.3 |' in text


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_python_of_a_page_compiles_and_its_configs_exist(page):
    text = page.read_text()
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        compile(re.sub(r'^--8<--\n.*\n--8<--$', '', block, flags=re.MULTILINE), str(page), 'exec')
    for file in set(re.findall(r'--config=(configs/\w+\.py)', text)) - {'configs/PAIR.py'}:
        assert (ROOT / file).is_file(), file
    for script in re.findall(r'(?:bash|python) (scripts/[\w.]+)', text):
        assert (ROOT / script).is_file(), script


def test_the_example_is_shown_whole():
    """In the block form, which is no Python: the formatter takes the other for an expression,
    puts spaces into it, and the page shows that.
    """
    text = (DOCS / 'extending.md').read_text()
    assert re.findall(r'^-- ?8 ?< ?--.*', text, re.MULTILINE) == ['--8<--', '--8<--']
    assert re.findall(r'^--8<--\n(.*)\n--8<--$', text, re.MULTILINE) == [
        str(EXAMPLE.relative_to(ROOT))
    ]


def test_pages_are_in_the_navigation():
    navigation = (ROOT / 'mkdocs.yml').read_text()
    names = {str(page.relative_to(DOCS)) for page in PAGES}
    assert sorted(name for name in names if name not in navigation) == []
    assert set(re.findall(r'[\w/]+\.md', navigation)) == names
