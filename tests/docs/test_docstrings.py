"""A docstring of a function says what it does, with a verb: 'Returns', 'Reads', 'Computes'."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2] / 'jreid'
# The end of a signature, on the line of its `def` or on one of its own, and what follows it.
DOCSTRING = re.compile(r'^ *(?:async )?(?:def .*|\).*):\n +"""(.*)', re.MULTILINE)
VERB = re.compile(r'[A-Z][a-z]+s\b')


def without_verb(source):
    return [first for first in DOCSTRING.findall(source) if not VERB.match(first)]


def test_docstrings_of_functions_begin_with_a_verb():
    sources = {path: path.read_text(encoding='utf-8') for path in sorted(ROOT.rglob('*.py'))}
    assert sum(len(DOCSTRING.findall(source)) for source in sources.values()) > 1000
    found = {str(path.relative_to(ROOT)): without_verb(text) for path, text in sources.items()}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ('source', 'found'),
    [
        ('def f(x):\n    """Returns x, doubled."""', []),
        ('def f(x):\n    """Returns, for x, its double."""', []),
        ('def f(x):\n    """The double of x."""', ['The double of x."""']),
        ('    def f(\n        x\n    ) -> int:\n        """True for even x.', ['True for even x.']),
        ('class Map(Base):\n    """A map of one place."""', []),
    ],
)
def test_a_noun_is_seen(source, found):
    assert without_verb(source) == found
