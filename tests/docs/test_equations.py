"""The hook that typesets the pages' equations, and that every equation of them can be read."""

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / 'docs').rglob('*.md'))


@pytest.fixture(scope='module')
def hook():
    spec = importlib.util.spec_from_file_location('typeset', ROOT / 'scripts' / 'typeset.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(hook, text):
    return hook.typeset(hook.marked(text), lambda latex, block: f'<{latex}|{block}>')


def test_equations_are_found_within_lines_and_on_their_own(hook):
    assert drawn(hook, 'the sum $a_i +\nb$ of') == 'the sum <a_i + b|False> of'
    assert drawn(hook, '$x$, $y$') == '<x|False>, <y|False>'
    block = drawn(hook, 'x:\n\n$$\na\n= b\n$$\n\ny')
    assert re.fullmatch(
        r'x:\n\n<span style="[^"]*overflow: auto hidden[^"]*"><a = b\|True></span>\n\ny', block
    )


@pytest.mark.parametrize(
    'text',
    ['`$a$` and `$HOME`', '```bash\necho $first $second\n```', 'costs $5 and $6', 'a \\$b\\$'],
)
def test_code_and_money_are_no_equations(hook, text):
    assert hook.marked(text) == text


def test_markdown_leaves_the_marks_alone(hook):
    assert re.fullmatch(r'equationinlinex[0-9a-f]+x', hook.marked('$a_1^* < b_2^*$'))


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT / 'docs')))
def test_equations_of_a_page_are_whole(hook, page):
    found = []
    hook.typeset(hook.marked(page.read_text()), lambda latex, block: found.append(latex) or '')
    for latex in found:
        plain = re.sub(r'\\[{}]', '', latex)
        assert plain.count('{') == plain.count('}'), latex
        assert latex.count('\\left') - latex.count('\\leftarrow') == latex.count('\\right'), latex


def test_no_equation_is_left_as_text():
    """Equations were blocks of text once; `->`, `<-` and `||` are theirs."""
    pages = [*(ROOT / 'docs' / 'systems').glob('*.md'), ROOT / 'docs' / 'losses.md']
    left = [
        page.stem
        for page in pages
        for block in re.findall(r'```text\n(.*?)```', page.read_text(), re.DOTALL)
        if re.search(r' = |<-|\|\|', block)
    ]
    assert left == []


def test_mathml_is_made_and_what_is_not_known_is_named(hook):
    pytest.importorskip('latex2mathml', reason='an extra of the documentation: jreid[docs]')
    assert '<msub><mi>a</mi><mi>i</mi></msub>' in hook.mathml('a_i', False)
    with pytest.raises(ValueError, match='nosuch'):
        hook.mathml(r'\nosuch{a}', True)
    with pytest.raises(ValueError, match='is no equation'):
        hook.mathml('a_1_2', True)
