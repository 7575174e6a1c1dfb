"""The rooms of the package: who may import whom, and the homes of the heavy libraries."""

import ast
import functools
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
    ('methods', 'data'): {'jreid.data.samplers'},
    ('configs', 'methods'): {'jreid.methods.settings'},
}
"""(room, room below) -> the only modules that it may import of it (plans draw from samplers)."""

HOMES = {
    'tensorflow': ('data/pipeline.py', 'data/tfds/', 'run/savedmodel.py'),
    'tensorflow_datasets': ('data/tfds/',),
    'orbax': ('run/checkpoints.py',),
    'flax.linen': ('models/', 'methods/'),
}


@functools.cache
def modules():
    return [path for path in sorted(ROOT.rglob('*.py')) if '__pycache__' not in path.parts]


def room_of(path):
    inside = path.relative_to(ROOT)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


@functools.cache
def imported(path):
    """The modules that a file imports, anywhere in it, as dotted names."""
    return names_in(path.read_text(), path.relative_to(ROOT.parent).parent.parts)


def names_in(source, package):
    """Dotted names that a source imports; relative ones are of `package`, as its parts."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            parts = [*above, *([node.module] if node.module else [])]
            names |= {'.'.join([*parts, alias.name]) for alias in node.names}
    return names


def strays(room, names):
    """The names that a file of the room may not import."""
    wrong = []
    for name in names:
        parts = name.split('.')
        if parts[0] != 'jreid' or len(parts) < 2 or parts[1] in (room, *LEAVES):
            continue
        allowed = ONLY.get((room, parts[1]))
        inside = allowed is None or any(f'{name}.'.startswith(f'{home}.') for home in allowed)
        if parts[1] not in BELOW[room] or not inside:
            wrong.append(name)
    return wrong


def test_a_room_imports_only_what_lies_below_it():
    inside = [path for path in modules() if room_of(path) != '__init__']
    assert len(inside) > 100
    found = {str(path.relative_to(ROOT)): strays(room_of(path), imported(path)) for path in inside}
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ('room', 'line', 'found'),
    [
        ('methods', 'from jreid.data import samplers', []),
        ('methods', 'from jreid.data.samplers import pxk', []),
        ('methods', 'from jreid.data import Index', ['jreid.data.Index']),
        ('methods', 'from jreid.data.pack import open_pack', ['jreid.data.pack.open_pack']),
        ('methods', 'import jreid.data', ['jreid.data']),
        ('methods', 'from . import ssg', []),
        ('methods', 'from .. import imaging', []),
        ('methods', 'from ..data import samplers', []),
        ('methods', 'from ..engine import steps', ['jreid.engine.steps']),
        ('methods', 'from .. import training', ['jreid.training']),
        ('losses', 'from ..models.heads import Head', ['jreid.models.heads.Head']),
    ],
)
def test_imports_are_seen_in_every_spelling(room, line, found):
    assert strays(room, names_in(line, ('jreid', room))) == found


def test_relative_imports_of_deeper_packages_are_seen():
    found = names_in('from ...engine import steps', ('jreid', 'methods', 'common'))
    assert found == {'jreid.engine.steps'}


@pytest.mark.parametrize('library', HOMES)
def test_heavy_libraries_have_their_homes(library):
    away, users = [], 0
    for path in modules():
        names = {f'{name}.' for name in imported(path)}
        if any(name.startswith(f'{library}.') for name in names):
            users += 1
            inside = str(path.relative_to(ROOT))
            away += [inside] if not inside.startswith(HOMES[library]) else []
    assert users
    assert away == []


def test_nothing_lies_loose_beside_the_rooms():
    loose = {path.name for path in ROOT.glob('*.py')}
    assert loose == {'__init__.py', 'files.py', 'imaging.py', 'main.py', 'train.py'}
    assert {room_of(path) for path in modules()} == {*BELOW, '__init__', 'files', 'imaging'}


def test_a_module_has_at_most_400_lines():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    assert {module: count for module, count in lines.items() if count > 400} == {}
