"""Writes `docs/config.md`, the page of every field of a config, from the comments of the source.

    python scripts/write_config_page.py

A comment above a field, or at the end of its line, says what the field means. The source is read,
not imported, but for the words of the types. A test holds the page in step.
"""

import ast
import io
import pathlib
import re
import tokenize
from typing import Literal, get_args, get_origin

from jreid.methods.settings import values

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'config.md'
BASE = ROOT / 'jreid' / 'configs' / 'base.py'
SETTINGS = ROOT / 'jreid' / 'methods' / 'settings'

TITLES = {
    '': 'The run',
    'data': 'Data',
    'model': 'Model',
    'init': 'Start',
    'augment': 'Augmentation',
    'train': 'Training',
    'evaluation': 'Evaluation',
    'checkpoint': 'Checkpoints',
    'figures': 'Figures',
}
"""Group -> its heading; a group that is not here has its own name."""

SYSTEMS = {
    'niec': 'NIEC',
    'dmtnet': 'DMTNet',
    'dien': 'DIEN',
    'tjaidl': 'TJ-AIDL',
    'mtdnet': 'MTDnet',
    'ptl': 'PTL',
    'ssg': 'SSG',
    'mmt': 'MMT',
    'spcl': 'SpCL',
    'cluster_contrast': 'Cluster-Contrast',
    'teacher': 'Teachers',
}
"""File of settings -> its heading, in the page's order; others follow under the file's name."""

HEAD = """\
# Every field of a config

Set a field as `--config.FIELD=VALUE`; a misspelt one is answered with the nearest right one. `jreid
list` shows the pairs and variants, which set some of them otherwise than here.

This page is made of the comments in `jreid/configs/base.py` and `jreid/methods/settings/` by
`python scripts/write_config_page.py`.
"""

Row = tuple[str, str, str, str]
"""Field, type, default, comment."""


def comments(source: str) -> dict[int, tuple[str, bool]]:
    """Returns line -> its comment's words, and whether the comment stands alone on the line."""
    lines = source.splitlines()
    return {
        token.start[0]: (
            token.string.lstrip('# ').rstrip(),
            lines[token.start[0] - 1].lstrip().startswith('#'),
        )
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }


def said_of(node: ast.stmt, found: dict[int, tuple[str, bool]]) -> str:
    """Returns the comment above a statement and the one at the end of its lines."""
    first, above = node.lineno, []
    while first - 1 in found and found[first - 1][1]:
        first -= 1
        above.insert(0, found[first][0])
    last = node.end_lineno or node.lineno
    beside = [
        found[line][0]
        for line in range(node.lineno, last + 1)
        if line in found and not found[line][1]
    ]
    return '; '.join(filter(None, [' '.join(above), ' '.join(beside)]))


def base_fields(source: str) -> dict[str, tuple[str, list[Row]]]:
    """Returns group -> (its comment, its fields) of `get_config` in `base.py`.

    Raises:
      ValueError: the source has no `get_config`.
    """
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    function = next((node for node in functions if node.name == 'get_config'), None)
    if function is None:
        raise ValueError(f'{BASE} has no function get_config; expected the base config')
    found, groups = comments(source), {'': ('', [])}
    for node in function.body:
        if not isinstance(node, ast.Assign):
            continue
        targets = [
            name
            for target in node.targets
            for name in (target.elts if isinstance(target, ast.Tuple) else [target])
            if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name)
        ]
        if not targets:
            continue
        comment = said_of(node, found)
        group = targets[0]
        if isinstance(node.targets[0], ast.Name):  # data = config.data = ConfigDict()
            groups[group.attr] = (comment, [])
            continue
        defaults = node.value.elts if isinstance(node.targets[0], ast.Tuple) else [node.value]
        for i, target in enumerate(targets):
            place = '' if target.value.id == 'config' else target.value.id
            if (place, target.attr) in (('', 'method'), ('', 'variant')):
                continue
            default = defaults[i] if len(defaults) > 1 else defaults[0]
            text = ast.unparse(default).replace('ConfigDict()', '{}')
            kind = type(ast.literal_eval(text)).__name__
            groups[place][1].append((target.attr, kind, text, comment))
    return groups


def settings_fields(source: str) -> tuple[str, list[Row]]:
    """Returns the docstring's first line and the own fields of the class `Settings`."""
    found = comments(source)
    node = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == 'Settings'
    )
    rows = [
        (
            field.target.id,
            kind_of(ast.unparse(field.annotation)),
            ast.unparse(field.value) if field.value else '',
            said_of(field, found),
        )
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    return (ast.get_docstring(node) or '').splitlines()[0], rows


def kind_of(annotation: str) -> str:
    """Returns a type in words: `Size` is 'int, 1 or more', a Literal its choices."""
    kind = getattr(values, annotation, None)
    if kind is not None and get_origin(kind) is Literal:
        return ', '.join(map(repr, get_args(kind)))
    if kind is not None and get_args(kind):
        base, limits = get_args(kind)[0], kind.__metadata__[0]
        return f'{base.__name__}, {limits.expected}'
    if several := re.fullmatch(r'tuple\[(\w+)((?:, \1)+|, \.\.\.)\]', annotation):
        number = '' if '...' in several[2] else f' {several[2].count(",") + 1}'
        return f'tuple of{number}: {kind_of(several[1])}'
    if choices := re.fullmatch(r'Literal\[(.*)\]', annotation):
        return choices[1]
    if ranged := re.fullmatch(r'Annotated\[(\w+), at_least\((\d+)\)\]', annotation):
        return f'{ranged[1]}, {ranged[2]} or more'
    return annotation


def table(rows: list[Row], group: str) -> str:
    """Returns the fields of a group as a table; bars would end a cell."""
    lines = ['| field | type | default | what it is |', '|---|---|---|---|']
    for name, kind, default, comment in rows:
        full = f'{group}.{name}' if group else name
        cells = (f'`{full}`', kind, f'`{default}`' if default else '', comment)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines)


def page() -> str:
    """Returns the page's text."""
    parts = [HEAD]
    for group, (comment, rows) in base_fields(BASE.read_text(encoding='utf-8')).items():
        title = TITLES.get(group, group)
        address = f'`{group}`'
        told = f'{address}: {comment}.\n\n' if comment else ''
        parts.append(f'## {title}\n\n{told}{table(rows, group)}\n')
    parts.append(
        '## Systems\n\n`config.method` has the fields of the system that the variant names.\n'
    )
    files = {path.stem: path for path in sorted(SETTINGS.glob('*.py'))}
    order = [*SYSTEMS, *(name for name in files if name not in SYSTEMS)]
    for name in order:
        if name not in files or 'class Settings' not in (source := files[name].read_text()):
            continue
        first, rows = settings_fields(source)
        parts.append(f'### {SYSTEMS.get(name, name)}\n\n{first}\n\n{table(rows, "method")}\n')
    return '\n'.join(parts)


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
    print(PAGE)
