"""`jreid COMMAND ...`: all programs of the package under one name. `python -m jreid.main
--config=...` is `jreid train --config=...`.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

TRAIN = """usage: jreid train --config=configs/PAIR.py[:VARIANT] [--workdir=DIR] [--config.FIELD=VALUE ...]

Trains a run, or goes on with it where it stopped. The same as python -m jreid.main.

  --config            file of the config; :VARIANT names a system or an ablation (configs/variants.py)
  --config.FIELD      sets a field; configs/base.py and configs/systems/ list them with their defaults
  --workdir           folder of the run (default: runs/<pair>-<variant>-<seed>)
  --coordinator, --processes, --process    HOST:PORT of the first process, how many, and which one this is: training on several hosts

  jreid train --config=configs/demo.py
  jreid train --config=configs/duke2market.py:mtwcnet --config.data.root=/data/reid
"""
LABEL = """usage: jreid label --teacher=RUN --config=configs/PAIR.py --out=DIR [--domain=target|source] [--adabn] [--config.FIELD=VALUE ...]

Writes what a teacher says of a pair's training images: part masks (DIR/masks/) or attributes (DIR/attributes.npz).
A run reads them with --config.data.target_teacher=DIR. The same as python -m jreid.commands.label.
"""

# command -> (a line of help, module, its own help where it reads its flags from the command line of
# a process of its own)
COMMANDS = {
    'train': ('train a run, or go on with it', 'jreid.main', TRAIN),
    'evaluate': (
        "measure a run's model again, on its target or another set",
        'jreid.commands.evaluate',
        '',
    ),
    'extract': (
        "write a run's features of images, a folder's, or a CSV file's",
        'jreid.commands.extract',
        '',
    ),
    'rank': ('show the gallery images nearest to query images', 'jreid.commands.rank', ''),
    'label': (
        "write a teacher's masks or attributes of a pair's images",
        'jreid.commands.label',
        LABEL,
    ),
    'report': ('make an HTML page of finished runs', 'jreid.report.__main__', ''),
    'reproduce': ("run, resume or collect the papers' tables", 'jreid.tables.command', ''),
    'convert': (
        'turn weights (.pth, .safetensors, .pb) into .safetensors',
        'jreid.commands.convert',
        '',
    ),
    'synthesize': ('generate a data set of pedestrians', 'jreid.synthetic.__main__', ''),
}


def usage() -> str:
    """The help of all commands."""
    lines = ['usage: jreid COMMAND ...', '', 'Cross-domain person re-identification. Commands:', '']
    lines += [f'  {name:<12}{told}' for name, (told, _, _) in COMMANDS.items()]
    return '\n'.join([*lines, '', 'jreid COMMAND --help tells the arguments of one.', ''])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ('-h', '--help', 'help'):
        print(usage(), end='')
        return 0
    if words[0] == '--version':
        import jreid

        print(f'jreid {jreid.__version__}')
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ''
        print(
            f"jreid: there is no command '{name}'{hint}; there are: {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    _, module, own_help = COMMANDS[name]
    if own_help:
        if {'-h', '--help'} & set(rest):
            print(own_help, end='')
            return 0
        # absl reads flags once a process, from the words that it was started with.
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, '-m', module, *rest])
    try:
        return importlib.import_module(module).main(rest, prog=f'jreid {name}') or 0
    # these say what was found, what was expected and what to do
    except (OSError, ValueError) as error:
        print(f'jreid {name}: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
