"""Options on the command line whose names the config cannot know: those of a data set's loader and
of a backbone.

`config.data.source_options`, `config.data.target_options` and `config.model.options` hold what the
config file put there, often nothing; which names are right depends on the set and the network,
which check them (`jreid.data.load`, `jreid.models.backbones.build`).
"""

import ast
import difflib
from collections.abc import Collection, Sequence

from ml_collections import ConfigDict

GROUPS = ('data.source_options', 'data.target_options', 'model.options')


def split(argv: Sequence[str], known: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """(the arguments without options that the config does not have yet, these as dotted name ->
    text).

    Args:
      argv: the command line; an option is `--config.GROUP.NAME=VALUE` or the same as two words.
      known: dotted names of the fields that the config has; they are left to its own parser, with
        its check of their type.

    Raises:
      ValueError: an option without a value.
    """
    rest, found = [], {}
    words = iter(argv)
    for word in words:
        name, equals, value = word.lstrip('-').partition('=')
        name = name.removeprefix('config.')
        if (
            not word.lstrip('-').startswith('config.')
            or not word.startswith('-')
            or name in known
            or not name.startswith(tuple(f'{g}.' for g in GROUPS))
        ):
            rest.append(word)
            continue
        if not equals:
            value = next(words, '')
        if not value or (not equals and value.startswith('--')):
            raise ValueError(f'{word} has no value; expected --config.{name}=VALUE')
        found[name] = value
    return rest, found


def unknown(arguments: Sequence[str], known: Collection[str]) -> str:
    """What is wrong with the first `--config.FIELD` that a config does not have, and which fields
    are near; '' where all are there.

    Args:
      arguments: words of a command line; others than `--config.FIELD[=VALUE]` are left alone.
      known: dotted names of the config's fields.
    """
    for argument in arguments:
        name = argument.split('=', 1)[0].lstrip('-').removeprefix('config.')
        if argument.lstrip('-').startswith('config.') and name not in known:
            last = name.rsplit('.', 1)[-1]
            near = [
                field for field in known if field.rsplit('.', 1)[-1] == last
            ] + difflib.get_close_matches(name, known, 3)
            hint = (
                f'did you mean {" or ".join(dict.fromkeys(near))}?'
                if near
                else f'there are: {", ".join(known)}'
            )
            return f'the config has no field {name} ({argument}); {hint}'
    return ''


def put(config: ConfigDict, found: dict[str, str]) -> None:
    """Set the options in a config, locked or not; numbers, True, False, None and tuples as
    Python writes them, everything else as text.
    """
    for name, text in found.items():
        *groups, last = name.split('.')
        place = config
        for group in groups:
            place = place[group]
        with place.unlocked():
            place[last] = literal(text)


def literal(text: str) -> object:
    """The value that a text stands for."""
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return tuple(value) if isinstance(value, list) else value
