"""`jreid completion SHELL`: prints a script that completes the commands in a shell."""

import argparse
import importlib
import pathlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jreid import configs

EPILOG = """once per shell:
  bash   %(prog)s bash > ~/.local/share/bash-completion/completions/jreid
  zsh    %(prog)s zsh > a folder of $fpath, as the file _jreid
  fish   %(prog)s fish > ~/.config/fish/completions/jreid.fish
"""
# bash makes three words of --config=de, of which shtab's function knows the first and the last.
EQUALS = """
_jreid_without_equals() {
  local words=() at=$COMP_CWORD i
  for i in "${!COMP_WORDS[@]}"; do
    if [[ ${COMP_WORDS[i]} != = ]]; then
      words+=("${COMP_WORDS[i]}")
    elif (( i == COMP_CWORD )); then
      words+=("")
    elif (( i < COMP_CWORD )); then
      (( at-- ))
    fi
  done
  COMP_WORDS=("${words[@]}") COMP_CWORD=$at
  _shtab_jreid "$@"
}
complete -o bashdefault -F _jreid_without_equals jreid"""
SHELLS = ('bash', 'zsh', 'fish', 'tcsh')
FOLDERS = ('run', 'runs', 'workdir', 'root', 'teacher')
"""Arguments that name folders; what else takes text names files."""


def parser_of_all() -> argparse.ArgumentParser:
    """Returns one parser with every command as a sub-command."""
    # The commands' modules import this one's neighbours, and cli names this module.
    from jreid.commands import cli

    parser = argparse.ArgumentParser(prog='jreid')
    parser.add_argument('--version', action='store_true')
    commands = parser.add_subparsers(dest='command')
    for name, command in cli.COMMANDS.items():
        own = _flags(name) if command.usage else _parser(command.module, f'jreid {name}')
        commands.add_parser(name, parents=[own], add_help=False, help=command.summary)
    return parser


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid completion') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Prints a script that completes the commands and their arguments in a shell.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('shell', choices=SHELLS)
    arguments = parser.parse_args(words)
    import shtab

    whole = parser_of_all()
    for action in _actions(whole):
        takes_text = (
            action.nargs != 0 and not action.choices and action.type in (None, pathlib.Path)
        )
        if takes_text:
            folder = action.dest in FOLDERS
            kind = shtab.DIRECTORY if folder else shtab.FILE
            action.complete = kind  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments.shell))
    if arguments.shell == 'bash':
        print(EQUALS)
    return 0


class _Carrier(Exception):  # noqa: N818 - no error
    """Carries a command's parser out of the command."""


def _parser(module: str, prog: str) -> argparse.ArgumentParser:
    """Returns the parser of a command: the one that it asks to parse its words."""
    with _handing_over():
        try:
            importlib.import_module(module).main([], prog=prog)
        except _Carrier as carrier:
            return carrier.args[0]
    raise TypeError(f'{module} parses its words without argparse')


@contextmanager
def _handing_over() -> Iterator[None]:
    """Makes parsers raise `_Carrier` with themselves instead of parsing."""

    def hand_over(self: argparse.ArgumentParser, *_: Any, **__: Any) -> Any:
        raise _Carrier(self)

    kept = argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_known_args = hand_over  # type: ignore[assignment]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_known_args = kept  # type: ignore[method-assign]


def _flags(name: str) -> argparse.ArgumentParser:
    """Returns a parser like the flags of a command whose words absl parses."""
    from jreid.commands import identities
    from jreid.commands.fields import field_names
    from jreid.configs import base

    if name == 'label':
        parser = identities.parser(f'jreid {name}')
        parser.add_argument('--teacher')
        parser.add_argument('--domain', choices=('target', 'source'))
        parser.add_argument('--adabn', action='store_true')
    else:
        parser = argparse.ArgumentParser(prog=f'jreid {name}')
        for flag in ('--workdir', '--coordinator', '--processes', '--process'):
            parser.add_argument(flag)
    parser.add_argument('--config', choices=list(configs.files()))
    parser.add_argument('--traceback', action='store_true')
    for field in field_names(base.get_config()):
        parser.add_argument(f'--config.{field}', type=str)
    return parser


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yields the arguments of a parser and of its sub-commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
        else:
            yield action


if __name__ == '__main__':
    sys.exit(main())
