"""Sets fields of a config from the words of a command line, `--config.FIELD=VALUE`.

A config knows its fields and their types, and ml_collections parses them. It cannot know the
options of a data set's loader and of a backbone. They lie in `config.data.source_options`,
`config.data.target_options` and `config.model.options`, which are often empty. This module parses
the words that set them; `jreid.data.load` and `jreid.models.backbones.build` check their names.
"""

import ast
import difflib
import re
from collections.abc import Collection, Mapping, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

OPTION_GROUPS = ('data.source_options', 'data.target_options', 'model.options')
"""Groups of a config that hold options."""


def set_fields(config: ConfigDict, words: Sequence[str]) -> ConfigDict:
    """Sets fields of a config as the command line does, for programs without one.

    Args:
      config: the config, which is changed and locked.
      words: `--config.FIELD=VALUE` or the same as two words.

    Returns:
      The config; each value has the type of its field.

    Raises:
      ValueError: the config does not have a field, or a value has another type.
    """
    values = flags.FlagValues()
    known, rest = field_names(config), list(words)
    try:
        rest, options = split_options(words, known)
        argv = ['jreid', *rest]
        config_flags.DEFINE_config_dict(
            'config', config, flag_values=values, lock_config=True, sys_argv=argv
        )
        unparsed = values(argv)[1:]
    except flags.Error as error:
        raise ValueError(unknown_field(rest, known) or flag_message(error)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(unknown_field(rest, known) or f'{" ".join(words)}: {error}') from error
    if unparsed:
        raise ValueError(
            f'unexpected arguments {" ".join(unparsed)}; fields are set as --config.field=value'
        )
    set_options(values.config, options)
    return values.config


def flag_message(error: flags.Error) -> str:
    """Returns absl's message of a wrong flag, which names the flag, without Python's writing."""
    boolean = re.sub(r"\('Non-boolean argument.*\)$", 'expected True or False', str(error))
    return boolean.removeprefix('flag ')


def field_names(config: ConfigDict, prefix: str = '') -> list[str]:
    """Returns the names of all fields; those of inner groups have dots."""
    names = []
    for name, value in config.items():
        inner = isinstance(value, ConfigDict) and value
        names += field_names(value, f'{prefix}{name}.') if inner else [f'{prefix}{name}']
    return names


def split_options(words: Sequence[str], known: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Splits off the options that a config does not have yet.

    Args:
      words: the command line; an option is `--config.GROUP.NAME=VALUE` or the same as two words.
      known: dotted names of the config's fields. The config's own parser reads these, since it
        checks their types.

    Returns:
      The other words, and the options as dotted name -> text.

    Raises:
      ValueError: an option has no value.
    """
    groups = tuple(f'{group}.' for group in OPTION_GROUPS)
    rest, options = [], {}
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.lstrip('-').partition('=')
        is_field = word.startswith('-') and name.startswith('config.')
        name = name.removeprefix('config.')
        if not is_field or name in known or not name.startswith(groups):
            rest.append(word)
            continue
        if not equals:
            value = next(remaining, '')
        if not value or (not equals and value.startswith('--')):
            raise ValueError(f'{word} has no value; expected --config.{name}=VALUE')
        options[name] = value
    return rest, options


def set_options(config: ConfigDict, options: Mapping[str, str]) -> None:
    """Sets options in a config, locked or not.

    Args:
      options: dotted name -> text, as `parse_value` reads it.
    """
    for name, text in options.items():
        *groups, last = name.split('.')
        place = config
        for group in groups:
            place = place[group]
        with place.unlocked():
            place[last] = parse_value(text)


def parse_value(text: str) -> object:
    """Reads numbers, True, False, None and tuples as Python writes them; other text stays text."""
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return tuple(value) if isinstance(value, list) else value


def unknown_field(words: Sequence[str], known: Collection[str]) -> str:
    """Describes the first `--config.FIELD` that a config does not have, with the nearest fields.

    Args:
      words: the command line; other words than `--config.FIELD[=VALUE]` are ignored.
      known: dotted names of the config's fields.

    Returns:
      The message, or '' where the config has all fields.
    """
    for word in words:
        name = word.split('=', 1)[0].lstrip('-').removeprefix('config.')
        # A group can be set as a whole: --config.data.target_options={}.
        is_group = name in OPTION_GROUPS or any(field.startswith(f'{name}.') for field in known)
        # Options have any name; one that `split_options` left has no value, which it says.
        is_group |= name.startswith(tuple(f'{group}.' for group in OPTION_GROUPS))
        if word.lstrip('-').startswith('config.') and name not in known and not is_group:
            last = name.rsplit('.', 1)[-1]
            near = [field for field in known if field.rsplit('.', 1)[-1] == last]
            near += difflib.get_close_matches(name, known, 3)
            hint = (
                f'did you mean {" or ".join(dict.fromkeys(near))}?'
                if near
                else f'there are: {", ".join(known)}'
            )
            return f'the config has no field {name} ({word}); {hint}'
    return ''
