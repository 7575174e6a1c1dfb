"""The README's shape, its pictures, and the links of README and pages."""

import importlib.util
import pathlib
import re
import tomllib

import pytest
from PIL import Image

from jreid import methods

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()
IMAGES = ROOT / 'docs' / 'images'
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
LINK = re.compile(r'\]\(([^)\s]+)\)')


@pytest.fixture(scope='module')
def diagrams():
    """The script that draws the SVG files, as a module."""
    path = ROOT / 'scripts' / 'draw_diagrams.py'
    spec = importlib.util.spec_from_file_location('draw_diagrams', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(text):
    return re.sub(r'```.*?```', '', text, flags=re.DOTALL)


def anchors(text):
    """The addresses of a page's headings, as mkdocs and GitHub make them."""
    titles = re.findall(r'^#+ (.*)$', prose(text), re.MULTILINE)
    plain = [re.sub(r'[^\w\s-]', '', title.lower()).strip() for title in titles]
    return {re.sub(r'\s', '-', title) for title in plain}


def test_the_readme_has_700_to_900_words_with_its_code_and_tables():
    assert 700 <= len(README.split()) <= 900, len(README.split())


def test_the_readme_tells_in_order():
    places = [
        '![Python',
        'images/ranked.webp',
        '## What you get',
        '| system | paper | year | needs |',
        '## Install',
        '## The demo',
        'images/report.webp',
        '## Features of your own images',
        '## Your own cameras',
        '## Market-1501, DukeMTMC-reID, MSMT17',
        '## Results',
        '## Your own loss',
        '## Documentation, citing',
        '## Lawful and consented use',
        '## Licence',
    ]
    found = [README.find(place) for place in places]
    assert -1 not in found, [place for place, at in zip(places, found, strict=True) if at < 0]
    assert found == sorted(found)


def test_the_table_of_systems_has_each_once():
    listed = re.findall(r'^\| \[.*?\]\(docs/systems/([\w-]+)\.md\)', README, re.MULTILINE)
    assert sorted(listed) == sorted(set(methods.METHODS) - {'teacher'})


def test_the_readmes_pictures_are_of_this_repository_and_small():
    shown = re.findall(r'!\[([^\]]*)\]\(([^)]+)\)', README)
    assert len(shown) >= 5
    for words, path in shown:
        assert len(words) > 8, path  # what it shows, for those who cannot see it
        assert path.startswith('docs/images/'), path
    for path in IMAGES.rglob('*.webp'):
        assert path.stat().st_size < 300_000, path
        with Image.open(path) as image:
            assert min(image.size) > 200, path


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    wrong = []
    for link in LINK.findall(prose(page.read_text())):
        if re.match(r'(https|mailto):', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name).resolve() if name else page
        if not target.is_file() or (
            anchor and target.suffix == '.md' and anchor not in anchors(target.read_text())
        ):
            wrong.append(link)
    assert wrong == []


def test_diagrams_and_badges_are_as_the_script_draws_them(diagrams):
    drawn = diagrams.pictures()
    kept = {str(path.relative_to(IMAGES)): path.read_text() for path in IMAGES.rglob('*.svg')}
    assert sorted(kept) == sorted(drawn)
    stale = [name for name, text in drawn.items() if kept[name] != text]
    assert stale == [], 'run python scripts/draw_diagrams.py'


def test_a_diagram_names_only_its_boxes_and_asks_for_nothing(diagrams):
    for name, diagram in diagrams.DIAGRAMS.items():
        ends = {end for arrow in diagram.arrows for end in arrow[:2]}
        assert ends == set(diagram.boxes), name
        places = [box[:2] for box in diagram.boxes.values()]
        assert len(set(places)) == len(places), name
    for text in diagrams.pictures().values():
        assert re.findall(r'https?://[^\'"]+', text) == ['http://www.w3.org/2000/svg']


def test_badges_say_what_the_project_asks_for(diagrams):
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    jax = next(line for line in project['dependencies'] if line.startswith('jax>'))
    low, high = re.fullmatch(r'jax>=0\.(\d+),<0\.(\d+)', jax).groups()
    assert diagrams.BADGES['jax'][1] == f'0.{low} – 0.{int(high) - 1}'
    assert diagrams.BADGES['python'][1].startswith(project['requires-python'].removeprefix('>='))
    assert diagrams.BADGES['licence'][1] == project['license']
