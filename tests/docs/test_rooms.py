"""The rooms of the package: who may import whom, and the homes of the heavy libraries."""

import ast
import functools
import pathlib
import re

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
    'run': {
        'evaluation',
        'engine',
        'figures',
        'retrieval',
        'losses',
        'data',
        'methods',
        'models',
    },
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

ONLY_FROM = {('data', 'synthetic'): {'data/datasets/synthetic.py'}}
"""(room, room below) -> the only files of the room that may import it."""

DOORS = {
    'commands/cli.py': {
        'jreid.report.command',
        'jreid.tables.command',
        'jreid.synthetic.__main__',
    },
}
"""File -> the modules outside its rooms that it may name: those that it starts as commands."""

HOMES = {
    'tensorflow': ('data/pipeline.py', 'data/tfds/', 'run/savedmodel.py'),
    'tensorflow_datasets': ('data/tfds/',),
    'orbax': ('run/checkpoints.py',),
    'flax.linen': ('models/', 'methods/'),
}


def files():
    """Paths inside the package, as strings."""
    return [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.rglob('*.py'))
        if '__pycache__' not in path.parts
    ]


def room_of(file):
    return file.split('/')[0].removesuffix('.py')


@functools.cache
def imported(file):
    """The modules that a file imports or names, anywhere in it, as dotted names."""
    return names_in((ROOT / file).read_text(), ('jreid', *file.split('/')[:-1]))


def names_in(source, package):
    """Dotted names that a source imports; relative ones are of `package`, as its parts.

    They are those of import statements, of attributes of what those bound (`flax.linen` after
    `import flax`), of `import_module` with a literal, and of strings that are a module of jreid.
    """
    nodes = list(ast.walk(ast.parse(source)))
    names, bound = set(), {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.add(alias.name)
                top = alias.name.split('.')[0]
                bound |= {alias.asname: alias.name} if alias.asname else {top: top}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            parts = [*above, *([node.module] if node.module else [])]
            names |= {'.'.join([*parts, alias.name]) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Attribute):
            names |= {name for name in [attribute(node, bound)] if name}
        elif isinstance(node, ast.Call) and called(node) in ('import_module', '__import__'):
            names |= {text.value for text in node.args[:1] if isinstance(text, ast.Constant)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= (
                {node.value.rstrip('.')} if re.fullmatch(r'jreid\.[\w.]*', node.value) else set()
            )
    return names


def attribute(node, bound):
    """The dotted name of an attribute of a module that an import bound, else ''."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in bound:
        return ''
    return '.'.join([bound[node.id], *reversed(parts)])


def called(node):
    """The last name of the function that a call calls."""
    return getattr(node.func, 'attr', getattr(node.func, 'id', ''))


def strays(file, names):
    """The names that a file may not import.

    The bare package is one: `jreid.run` after `import jreid` loads whatever lies in any room.
    """
    room, wrong = room_of(file), []
    for name in names - DOORS.get(file, set()):
        parts = name.split('.')
        if parts[0] != 'jreid':
            continue
        below = parts[1] if len(parts) > 1 else ''
        if below in (room, *LEAVES):
            continue
        modules = ONLY.get((room, below))
        inside = modules is None or any(f'{name}.'.startswith(f'{home}.') for home in modules)
        readers = ONLY_FROM.get((room, below))
        if below not in BELOW[room] or not inside or (readers and file not in readers):
            wrong.append(name)
    return sorted(wrong)


def away(library, file, names):
    """Whether a file outside the library's homes imports it; None where it does not import it."""
    if not any(f'{name}.'.startswith(f'{library}.') for name in names):
        return None
    return not file.startswith(HOMES[library])


def test_a_room_imports_only_what_lies_below_it():
    inside = [file for file in files() if room_of(file) != '__init__']
    found = {file: strays(file, imported(file)) for file in inside}
    assert len(inside) > 200
    assert {file: names for file, names in found.items() if names} == {}


def test_what_a_file_may_name_beyond_its_rooms_is_named_there():
    for file, names in DOORS.items():
        assert names <= imported(file)
        assert strays(f'{room_of(file)}/other.py', names) == sorted(names)
    for (_, below), readers in ONLY_FROM.items():
        for file in readers:
            assert any(name.startswith(f'jreid.{below}') for name in imported(file))


@pytest.mark.parametrize(
    ('file', 'source', 'found'),
    [
        ('methods/new.py', 'from jreid.data import samplers', []),
        ('methods/new.py', 'from jreid.data.samplers import pxk', []),
        ('methods/new.py', 'from jreid.data import Index', ['jreid.data.Index']),
        (
            'methods/new.py',
            'from jreid.data.pack import open_pack',
            ['jreid.data.pack.open_pack'],
        ),
        ('methods/new.py', 'import jreid.losses as of', []),
        ('methods/new.py', 'import jreid.data', ['jreid.data']),
        ('methods/new.py', 'from . import ssg', []),
        ('methods/new.py', 'from .. import imaging', []),
        ('methods/new.py', 'from ..data import samplers', []),
        ('methods/new.py', 'from ..engine import steps', ['jreid.engine.steps']),
        ('methods/new.py', 'from .. import training', ['jreid.training']),
        ('methods/common/new.py', 'from ...engine import steps', ['jreid.engine.steps']),
        ('losses/new.py', 'from ..models.heads import Head', ['jreid.models.heads.Head']),
        ('tables/new.py', 'from jreid import __version__, load_run', ['jreid.load_run']),
        ('tables/new.py', 'import jreid', ['jreid']),
        (
            'losses/new.py',
            'import jreid\njreid.run.loading',
            ['jreid', 'jreid.run', 'jreid.run.loading'],
        ),
        ('losses/new.py', 'import jreid.losses\njreid.run', ['jreid.run']),
        ('losses/new.py', "import_module('jreid.run.loading')", ['jreid.run.loading']),
        ('losses/new.py', "importlib.import_module(f'jreid.run.{name}')", ['jreid.run']),
        ('losses/new.py', "importlib.import_module(f'jreid.{name}')", ['jreid']),
        ('losses/new.py', "__import__('jreid')", ['jreid']),
        ('losses/new.py', "import_module('.loading', 'jreid.run')", ['jreid.run']),
        ('commands/new.py', "PAGE = 'jreid.report.command'", ['jreid.report.command']),
        ('commands/cli.py', "PAGE = 'jreid.report.command'", []),
        ('commands/cli.py', "PAGE = 'jreid.report.page'", ['jreid.report.page']),
        ('data/new.py', 'from jreid.synthetic import render', ['jreid.synthetic.render']),
        ('data/datasets/synthetic.py', 'from jreid.synthetic import cached_tree', []),
    ],
)
def test_imports_are_seen_in_every_spelling(file, source, found):
    package = ('jreid', *file.split('/')[:-1])
    assert strays(file, names_in(source, package)) == found


@pytest.mark.parametrize('library', HOMES)
def test_heavy_libraries_have_their_homes(library):
    found = {file: away(library, file, imported(file)) for file in files()}
    assert False in found.values()
    assert [file for file, out in found.items() if out] == []


@pytest.mark.parametrize(
    ('library', 'source'),
    [
        ('flax.linen', 'from flax import linen as nn'),
        ('flax.linen', 'import flax.linen as nn'),
        ('flax.linen', 'import flax\nflax.linen.Dense(3)'),
        ('flax.linen', 'import flax as f\nlayer = f.linen.Dense(3)'),
        ('flax.linen', "importlib.import_module('flax.linen')"),
        ('tensorflow', "tf = importlib.import_module('tensorflow')"),
        ('orbax', 'import orbax.checkpoint'),
    ],
)
def test_heavy_libraries_are_seen_in_every_spelling(library, source):
    names = names_in(source, ('jreid', 'engine'))
    assert away(library, 'engine/new.py', names)
    assert away(library, HOMES[library][0], names) is False
    assert away(library, 'engine/new.py', names_in('import flax, numpy', ('jreid',))) is None


def test_nothing_lies_loose_beside_the_rooms():
    loose = {path.name for path in ROOT.glob('*.py')}
    assert loose == {'__init__.py', 'files.py', 'imaging.py', 'main.py', 'train.py'}
    assert {room_of(file) for file in files()} == {*BELOW, '__init__', 'files', 'imaging'}


def test_a_module_has_at_most_400_lines():
    lines = {file: len((ROOT / file).read_text().splitlines()) for file in files()}
    assert {file: count for file, count in lines.items() if count > 400} == {}
