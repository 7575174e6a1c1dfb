"""`jreid list [WHAT]`: pairs, variants with their papers, backbones, data sets."""

import argparse
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence

from jreid import configs
from jreid.configs import variants
from jreid.data.datasets import LOADERS
from jreid.models import BACKBONES

WIDTH = 100


def pairs() -> list[str]:
    """Returns a line per config of the package: its name and what it is."""
    return _columns((name, configs.title(path)) for name, path in configs.files().items())


def systems() -> list[str]:
    """Returns the systems with their papers, and a line per variant with its row in the paper."""
    lines: list[str] = []
    for system in variants.SYSTEMS.values():
        lines += [*([''] if lines else []), f'{system.name}: {system.reference}']
        lines += [
            f'  {line}'
            for line in _columns(
                (name, _row(name, system.settings, system.paper)) for name in system.variants
            )
        ]
    return lines


def backbones() -> list[str]:
    """Returns a line per backbone, with the width of its features."""
    return _columns(
        (name, f'{record.features} channels; {record.note}') for name, record in BACKBONES.items()
    )


def data_sets() -> list[str]:
    """Returns a line per data set that `data.source` and `data.target` can name."""
    rows = [(name, _first_line(sys.modules[load.__module__])) for name, load in LOADERS.items()]
    return _columns([*rows, ('none', 'As data.source: no source, for unsupervised training.')])


PARTS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    'pairs': ('Pairs, for --config=PAIR', pairs),
    'variants': ('Variants, for --config=PAIR:VARIANT, by system', systems),
    'backbones': ('Backbones, for --config.model.backbone', backbones),
    'data': ('Data sets, for --config.data.source and --config.data.target', data_sets),
}


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid list') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Lists pairs, variants with their papers, backbones, data sets.'
    )
    parser.add_argument('what', nargs='?', choices=list(PARTS), help='one of these; default: all')
    what = parser.parse_args(words).what
    for number, part in enumerate([what] if what else PARTS):
        heading, lines = PARTS[part]
        print(*([''] if number else []), f'{heading}:', '', sep='\n')
        print(*(f'  {line}' if line else '' for line in lines()), sep='\n')
    return 0


def _row(name: str, settings: type, paper: str) -> str:
    """Describes a variant: its row in the paper, else what differs from the system's defaults."""
    variant = variants.VARIANTS[name]
    changes = ', '.join(
        f'{field} {value!r}' for field, value in {**variant.changes, **variant.base}.items()
    )
    if variant.row:
        return f"row {variant.row} of {paper}'s paper"
    return changes or 'as the system is'


def _first_line(of: object) -> str:
    text = (inspect.getdoc(of) or '').strip().split('\n\n')[0]
    return ' '.join(text.split())


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Returns lines with the names in a column of their own, and long texts folded."""
    rows = list(rows)
    wide = max((len(name) for name, _ in rows), default=0) + 2
    lines = []
    for name, text in rows:
        folded = textwrap.wrap(text, WIDTH - wide - 4) or ['']
        lines.append(f'{name:<{wide}}{folded[0]}'.rstrip())
        lines += [' ' * wide + line for line in folded[1:]]
    return lines


if __name__ == '__main__':
    sys.exit(main())
