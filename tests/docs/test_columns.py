"""Lines of text files have at most 100 columns; ruff holds those of Python."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ('.ci', 'configs', 'docs', 'jreid', 'scripts', 'tests')
SUFFIXES = ('', '.cff', '.css', '.ipynb', '.js', '.json', '.md', '.sh', '.toml', '.typed', '.yml')
ELSEWHERE = ('.npz', '.py', '.svg', '.webp')
"""Numbers, pictures, and Python. A drawing has a line per shape, which no one reads."""
COLUMNS = 100


def files():
    """Files beside the folders and in them, but for what editors and caches hide."""
    found = [*ROOT.iterdir(), *(path for name in FOLDERS for path in (ROOT / name).rglob('[!.]*'))]
    inside = [path for path in sorted(found) if path.is_file() and not path.name.startswith('.')]
    return [path for path in inside if not {'__pycache__', '.ipynb_checkpoints'} & {*path.parts}]


def lines(path):
    """A file's lines; of a notebook those of its cells, which JSON keeps in quotes."""
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.ipynb':
        text = '\n'.join(''.join(cell['source']) for cell in json.loads(text)['cells'])
    return text.splitlines()


def too_long(line):
    """Whether a line could be broken: not a row of a table, nor one word, as a link is."""
    words = line.strip().removeprefix('- ').removeprefix('# ')
    return len(line) > COLUMNS and not line.lstrip().startswith('|') and ' ' in words


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('word ' * 20, False),
        ('word ' * 20 + 'x', True),
        ('- ' + 'word ' * 20, True),
        ('| ' + 'word ' * 20 + '|', False),
        ('- https://' + 'x' * 100, False),
        ('see https://' + 'x' * 100, True),
    ],
)
def test_a_line_of_many_words_is_seen(line, expected):
    assert too_long(line) is expected


def test_lines_have_at_most_100_columns():
    read = [path for path in files() if path.suffix in SUFFIXES]
    assert len(read) > 50
    assert [
        f'{path.relative_to(ROOT)}:{number}'
        for path in read
        for number, line in enumerate(lines(path), 1)
        if too_long(line)
    ] == []


def test_every_kind_of_file_is_read_or_named():
    assert {path.suffix for path in files()} <= {*SUFFIXES, *ELSEWHERE}
