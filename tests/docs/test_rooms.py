"""The rooms of the package: who may import whom, and the homes of the heavy libraries."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2] / 'jreid'

LEAVES = ('files', 'imaging', '__version__')

BELOW = {
    'losses': set(),
    'clustering': set(),
    'retrieval': set(),
    'figures': set(),
    'models': set(),
    'synthetic': set(),
    'data': {'synthetic'},
    'methods': {'losses', 'clustering', 'retrieval', 'models', 'data'},
    'engine': {'data', 'methods', 'models'},
    'evaluation': {'engine', 'retrieval', 'data', 'methods'},
    'run': {'evaluation', 'engine', 'figures', 'retrieval', 'data', 'methods', 'models'},
    'configs': {'methods'},
}
BELOW['training'] = {'run', *BELOW['run']}
BELOW['commands'] = {'training', *BELOW['training'], 'configs'}
BELOW['report'] = BELOW['tables'] = {'commands', *BELOW['commands']}
BELOW['main'] = {'commands'}
BELOW['train'] = {'training'}
"""Room -> the rooms that it may import. Every room may import the leaves."""

ONLY = {
    ('methods', 'data'): {'jreid.data.samplers', 'jreid.data'},
    ('configs', 'methods'): {'jreid.methods.settings'},
}
"""(room, room below) -> the only modules that it may import of it (plans draw from samplers)."""

HOMES = {
    'tensorflow': ('data/pipeline.py', 'data/tfds/', 'run/savedmodel.py'),
    'tensorflow_datasets': ('data/tfds/',),
    'orbax': ('run/checkpoints.py',),
    'flax.linen': ('models/', 'methods/'),
}


def modules():
    return [path for path in sorted(ROOT.rglob('*.py')) if '__pycache__' not in path.parts]


def room_of(path):
    inside = path.relative_to(ROOT)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported(path):
    """The modules that a file imports, anywhere in it, as dotted names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


@pytest.mark.parametrize('path', modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_below_it(path):
    room, wrong = room_of(path), []
    if room == '__init__':
        return
    for name in imported(path):
        parts = name.split('.')
        if parts[0] != 'jreid' or len(parts) < 2 or parts[1] in (room, *LEAVES):
            continue
        allowed = ONLY.get((room, parts[1]))
        inside = allowed is None or any(f'{name}.'.startswith(f'{home}.') for home in allowed)
        if parts[1] not in BELOW[room] or not inside:
            wrong.append(name)
    assert not wrong


@pytest.mark.parametrize('library', HOMES)
def test_heavy_libraries_have_their_homes(library):
    strays, users = [], 0
    for path in modules():
        names = {f'{name}.' for name in imported(path)}
        if any(name.startswith(f'{library}.') for name in names):
            users += 1
            inside = str(path.relative_to(ROOT))
            strays += [inside] if not inside.startswith(HOMES[library]) else []
    assert users
    assert strays == []


def test_nothing_lies_loose_beside_the_rooms():
    loose = {path.name for path in ROOT.glob('*.py')}
    assert loose == {'__init__.py', 'files.py', 'imaging.py', 'main.py', 'train.py'}
    assert {room_of(path) for path in modules()} == {*BELOW, '__init__', 'files', 'imaging'}


@pytest.mark.parametrize('path', modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400
