"""The documentation's examples of systems train, and what its pages name is there."""

import importlib.util
import json
import pathlib
import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from jreid import methods
from jreid.commands import cli
from jreid.data.datasets import LOADERS
from jreid.methods import systems
from jreid.run.checkpoints import Checkpoints
from jreid.tables import catalogue
from jreid.training import loop as train

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted(DOCS.rglob('*.md'))
EXAMPLES = sorted((DOCS / 'examples').glob('*.py'))


@pytest.fixture
def example(monkeypatch):
    """Name -> an example as a module, registered for this test only."""
    monkeypatch.setattr(systems, 'METHODS', dict(systems.METHODS))

    def module(name):
        spec = importlib.util.spec_from_file_location(name, DOCS / 'examples' / f'{name}.py')
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return module


def test_coral_loss_against_numpy(example):
    coral = example('coral')
    x, y = np.random.default_rng(0).normal(size=(2, 12, 5)).astype(np.float32)
    y = 2 * y
    expected = np.sum((np.cov(x.T) - np.cov(y.T)) ** 2) / (4 * 5**2)
    np.testing.assert_allclose(coral.coral_loss(x, y), expected, rtol=1e-5)
    assert float(coral.coral_loss(x, x + 3)) == pytest.approx(0, abs=1e-8)


def trained(module, name, tiny_config, workdir, **settings):
    """Trains an example's system on the small domains; returns summary and last checkpoint."""
    config = tiny_config()
    config.variant = name
    config.method = ConfigDict({'name': name, **vars(module.Settings(**settings))})
    summary = train.train(config, workdir)
    restored = Checkpoints(workdir / 'checkpoints', read_only=True).restore_model()
    assert restored is not None
    return summary, restored.tree['state'].memory


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_under_100_lines(path):
    assert len(path.read_text().splitlines()) < 100


def test_coral_trains_and_evaluates(example, tiny_config, tmp_path):
    settings = {'epochs': 4, 'identities_per_batch': 4, 'learning_rate': 1e-2}
    summary, _ = trained(example('coral'), 'coral', tiny_config, tmp_path, **settings)
    assert summary['adapted']['queries'] == 12
    logged = set(re.findall(r'"\w+"', (tmp_path / 'metrics.jsonl').read_text()))
    assert {'"coral"', '"identity"', '"triplet"'} <= logged


def test_memory_bank_trains_and_its_bank_moves(example, tiny_config, tmp_path):
    settings = {'epochs': 3, 'clusters': 8, 'identities_per_batch': 4, 'learning_rate': 1e-2}
    summary, memory = trained(example('memory_bank'), 'bank', tiny_config, tmp_path, **settings)
    assert summary['adapted']['mAP'] > 50  # two colours per person are easy
    np.testing.assert_allclose(np.linalg.norm(memory['bank'], axis=1), 1, rtol=1e-4)
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    losses = [r['info_nce'] for r in map(json.loads, lines) if r['kind'] == 'train']
    assert losses[-1] < losses[0]


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


def test_the_examples_are_shown_whole():
    """In the block form, which is no Python: the formatter takes the other for an expression,
    puts spaces into it, and the page shows that.
    """
    text = (DOCS / 'extending.md').read_text()
    marks = re.findall(r'^-- ?8 ?< ?--.*', text, re.MULTILINE)
    assert marks == ['--8<--', '--8<--'] * len(EXAMPLES)
    shown = re.findall(r'^--8<--\n(.*)\n--8<--$', text, re.MULTILINE)
    assert sorted(shown) == [str(path.relative_to(ROOT)) for path in EXAMPLES]


def test_pages_are_in_the_navigation():
    navigation = (ROOT / 'mkdocs.yml').read_text()
    names = {str(page.relative_to(DOCS)) for page in PAGES}
    assert sorted(name for name in names if name not in navigation) == []
    assert set(re.findall(r'[\w/]+\.md', navigation)) == names


def test_every_test_file_that_a_page_names_exists():
    pages = [*(ROOT / 'docs').rglob('*.md'), ROOT / 'README.md', ROOT / 'CONTRIBUTING.md']
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(r'tests/[a-z_/]+\.py', page.read_text())
    }
    assert named
    assert not [(page, path) for page, path in sorted(named) if not (ROOT / path).is_file()]
