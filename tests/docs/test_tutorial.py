"""The tutorial's cells run in order and come to the numbers that they promise."""

import ast
import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / 'docs' / 'tutorial.ipynb').read_text())
CODE = [''.join(cell['source']) for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code']
WORDS = [''.join(cell['source']) for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'markdown']


def test_the_notebook_holds_no_output_and_every_cell_is_python():
    assert NOTEBOOK['nbformat'] == 4
    assert len(CODE) >= 8
    for cell in NOTEBOOK['cells']:
        if cell['cell_type'] == 'code':
            assert (cell['outputs'], cell['execution_count']) == ([], None)
    for source in CODE:
        ast.parse(source)
        assert max(map(len, source.splitlines())) <= 100


def test_its_links_lead_to_pages():
    links = re.findall(r'\]\(([\w./]+)\)', '\n'.join(WORDS))
    assert links
    assert [link for link in links if not (ROOT / 'docs' / link).is_file()] == []


def test_the_short_form_sets_fields_that_exist():
    """The config is locked, so a wrong name fails here and not after minutes."""
    names = {}
    first = CODE[0].replace("os.environ.get('JREID_TUTORIAL')", "'short'")
    exec(first, names)
    assert names['config'].data.target_options.test_identities == 8


@pytest.mark.slow
def test_the_cells_run_and_features_give_the_runs_numbers(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('JREID_TUTORIAL', 'short')
    monkeypatch.chdir(tmp_path)
    names = {}
    for source in CODE:
        exec(source, names)
    assert 100 * names['metrics'].mAP == pytest.approx(names['summary']['adapted']['mAP'], abs=0.01)
    assert names['query'].shape == (len(names['target'].query), names['model'].dim)
    assert (tmp_path / 'runs' / 'tutorial' / 'sheet.png').stat().st_size > 10_000
    page = (tmp_path / 'runs' / 'tutorial' / 'report.html').read_text()
    assert 'dmtnet' in page
    assert 'people estimated' in capsys.readouterr().out
