"""Typesets the equations of the pages as MathML, a hook of mkdocs.

`$$` on lines of their own hold an equation, `$...$` one within a line. Browsers draw MathML without
any script or font from elsewhere. GitHub draws the same source.
"""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

BLOCK = re.compile(r'^\$\$\n(.*?)\n\$\$$', re.MULTILINE | re.DOTALL)
INLINE = re.compile(r'(?<![\\$\w])\$(?=\S)([^$\n]+?(?:\n[^$\n]+?)?)(?<=\S)\$(?![\w$])')
WIDE = 'display: block; overflow: auto hidden; padding: 0.4em 0'
"""Style of an equation on lines of its own, which scrolls sideways on a phone."""
CODE = re.compile(r'(^```.*?^```$|`[^`\n]+`)', re.MULTILINE | re.DOTALL)


def marked(markdown: str) -> str:
    """Puts a word that markdown leaves alone in the place of every equation of a page.

    The word holds the equation as hexadecimal digits. Equations within code stay.
    """
    parts = CODE.split(markdown)
    for i in range(0, len(parts), 2):  # the others are code
        text = BLOCK.sub(lambda found: _word('block', found[1]), parts[i])
        parts[i] = INLINE.sub(lambda found: _word('inline', found[1]), text)
    return ''.join(parts)


def _word(kind: str, latex: str) -> str:
    return f'equation{kind}x{" ".join(latex.split()).encode().hex()}x'


def typeset(page: str, convert: Callable[[str, bool], str]) -> str:
    """Replaces the words that `marked` put into a page.

    Args:
      page: the page's HTML.
      convert: (LaTeX, whether it stands on lines of its own) -> MathML.
    """

    def drawn(found: re.Match[str]) -> str:
        block = found[1] == 'block'
        text = convert(bytes.fromhex(found[2]).decode(), block)
        return f'<span style="{WIDE}">{text}</span>' if block else text

    return re.sub(r'equation(block|inline)x([0-9a-f]+)x', drawn, page)


def mathml(latex: str, block: bool) -> str:
    """Converts an equation.

    Raises:
      ValueError: it cannot be read; the message holds it.
    """
    from latex2mathml.converter import convert

    try:
        text = convert(latex, display='block' if block else 'inline')
    except Exception as error:  # the package has a dozen kinds
        raise ValueError(f'{latex!r} is no equation: {error!r}; expected LaTeX') from error
    # What the package does not know it passes on as letters with a backslash.
    if left := re.search(r'\\\w+', unescape(text)):
        raise ValueError(f'{latex!r} has {left[0]}, which is not known; use another command')
    return text


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Is called by mkdocs with the source of every page."""
    return marked(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Is called by mkdocs with what markdown made of it."""
    return typeset(html, mathml)
