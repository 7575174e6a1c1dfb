"""Makes the HTML file: style, script, data and pictures in one."""

import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

# The page fetches nothing, so nobody learns that pictures of people were opened.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " base-uri 'none'; form-action 'none'"
)
SCRIPTS = ('charts.js', 'points.js', 'tables.js', 'numbers.js', 'images.js', 'page.js')
"""Scripts of the page; the last one puts the sections together."""
NO_SCRIPT = (
    'This page draws its tables and figures with the script that it holds; switch JavaScript on for'
    ' this file.'
)
NOTICE = 'Images show people: keep and share this file only as the law and their consent allow.'


def render(title: str, data: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """Makes the page of `data` (see `page.js`) with its pictures."""
    shown = html.escape(title)
    scripts = '\n'.join(f'<script>{_asset(name)}</script>' for name in SCRIPTS)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{shown}</title>
<link rel="icon" href="data:,">
<style>{_asset('page.css')}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<h1 title="{shown}">{shown}</h1>
<nav id="nav" aria-label="Sections"></nav>
</header>
<main id="main"><noscript>{NO_SCRIPT}</noscript></main>
<footer>Made by jreid {html.escape(str(data.get('version', '')))}. {NOTICE}</footer>
<script type="application/json" id="data">{_embedded(data)}</script>
<script type="application/json" id="pictures">{_embedded(pictures)}</script>
{scripts}
</body>
</html>
"""


def _asset(name: str) -> str:
    return importlib.resources.files('jreid.report').joinpath(name).read_text(encoding='utf-8')


def _embedded(value: Any) -> str:
    """Writes JSON that cannot end the script element that holds it."""
    text = json.dumps(value, separators=(',', ':'), allow_nan=False)
    return text.replace('<', '\\u003c').replace('\u2028', '\\u2028').replace('\u2029', '\\u2029')
