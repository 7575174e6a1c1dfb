"""`jreid COMMAND ...`: all programs of the package under one name.

`python -m jreid.main --config=...` is `jreid train --config=...`.
"""

import dataclasses
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from jreid.commands import allocation

TRAIN = """usage: jreid train --config=PAIR[:VARIANT] [--workdir=DIR]
                   [--config.FIELD=VALUE ...]

Trains a run, or continues it from its last checkpoint. The same as python -m jreid.main.

  --config         name of a pair (jreid list shows them), or the path of a config file of your own;
                   :VARIANT names a system or an ablation
  --config.FIELD   sets a field; docs/config.md (made of jreid/configs/) lists them all
  --workdir        folder of the run (default: runs/<pair>-<variant>-<seed>)
  --traceback      shows where an error comes from

Training on several hosts:

  --coordinator    HOST:PORT of the first process
  --processes      number of processes
  --process        number of this process, from 0

  jreid train --config=demo
  jreid train --config=duke2market:mtwcnet --config.data.root=/data/reid
"""
LABEL = """usage: jreid label --teacher=RUN --config=PAIR --out=DIR
                   [--domain=target|source] [--adabn] [--config.FIELD=VALUE ...]
       jreid label RUN IMAGES... --identities --out=DIR
                   [--people=N] [--root=DIR] [--checkpoint=last|best] [--skip-bad]

Predicts labels of a pair's training images with a teacher: part masks (DIR/masks/) or attributes
(DIR/attributes.npz). A run reads them with --config.data.target_teacher=DIR.

  --teacher        folder of the teacher's run
  --config         name or file of the config that names the data sets
  --config.FIELD   sets a field of that config
  --out            folder of the labels
  --domain         whose training images are labelled (default: target)
  --adabn          estimates the teacher's batch-norm statistics on these images
  --traceback      shows where an error comes from

The second form groups any images into people with a finished run, without a label and without the
run's data: DIR/identities.csv, and a contact sheet per person in DIR/people/.

  RUN              folder of a finished run
  IMAGES           image files, folders or CSV files
  --people         the number of people, where it is known
  --root           folder that the images of a CSV file must lie in
  --skip-bad       leaves unreadable images out
"""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `jreid`.

    Attributes:
      summary: its line in the help of all commands.
      module: has `main(words, prog=...)`, or `run(argv)` where `usage` is given.
      usage: the help of a command whose flags absl parses; '' for one with a parser of its own.
      steps: whether it runs training steps, which want another setting of malloc.
    """

    summary: str
    module: str
    usage: str = ''
    steps: bool = False


COMMANDS = {
    'train': Command('train a run, or continue it', 'jreid.commands.train', TRAIN, steps=True),
    'evaluate': Command(
        "evaluate a run's model again, on its target or another set", 'jreid.commands.evaluate'
    ),
    'extract': Command("write a run's features of images", 'jreid.commands.extract'),
    'export': Command("write a run's features as ONNX and the like", 'jreid.commands.export'),
    'rank': Command('show the gallery images nearest to query images', 'jreid.commands.rank'),
    'visualize': Command("draw where a run's model looks: Grad-CAM", 'jreid.commands.visualize'),
    'label': Command(
        'group images into people; or predict masks or attributes with a teacher',
        'jreid.commands.label',
        LABEL,
    ),
    'report': Command('make an HTML page of finished runs', 'jreid.report.command'),
    'collect': Command(
        'print mean and deviation of runs that differ in their seed or split',
        'jreid.commands.collect',
    ),
    'reproduce': Command("run, resume or collect the papers' tables", 'jreid.tables.command'),
    'convert': Command(
        'convert weights (.pth, .onnx, .pb, ...) to .safetensors', 'jreid.commands.convert'
    ),
    'list': Command(
        'list pairs, variants with their papers, backbones, data sets', 'jreid.commands.listing'
    ),
    'completion': Command(
        'print the completion of these commands for a shell', 'jreid.commands.completion'
    ),
    'synthesize': Command('generate a data set of pedestrians', 'jreid.synthetic.__main__'),
}


def usage() -> str:
    """Returns the help of all commands."""
    lines = ['usage: jreid COMMAND ...', '', 'Cross-domain person re-identification. Commands:', '']
    lines += [f'  {name:<12}{command.summary}' for name, command in COMMANDS.items()]
    return '\n'.join([*lines, '', 'jreid COMMAND --help shows the arguments of a command.', ''])


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status.

    Args:
      words: the command and its arguments; None for those that the process was started with.
    """
    is_program = words is None
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ('-h', '--help', 'help'):
        print(usage(), end='')
        return 0
    if words[0] == '--version':
        from jreid import __version__

        print(f'jreid {__version__}')
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
    try:
        return _run(COMMANDS[name], name, rest, is_program=is_program)
    except KeyboardInterrupt:
        if not is_program:
            raise
        from jreid.commands import console

        console.stop('stopped', signal.SIGINT)


def _run(command: Command, name: str, rest: list[str], *, is_program: bool) -> int:
    if command.usage and {'-h', '--help'} & set(rest):
        print(command.usage, end='')
        return 0
    if command.steps and is_program:
        allocation.start_again()
    if command.usage:
        return _run_with_flags(command.module, [f'jreid {name}', *rest])
    try:
        status = importlib.import_module(command.module).main(rest, prog=f'jreid {name}') or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader (head, grep -q) has seen enough
        if is_program:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    # The commands raise these with what was found, what was expected and what to do.
    except (ImportError, OSError, ValueError) as error:
        print(f'jreid {name}: {error}', file=sys.stderr)
        return 1


def _run_with_flags(module: str, argv: list[str]) -> int:
    """Runs a command whose flags absl parses, which a process can do once."""
    # ml_collections reads the fields of a config from here.
    sys.argv = argv
    # A config file may import modules of the working folder, as under `python -m`.
    sys.path.append(os.getcwd())
    importlib.import_module(module).run(argv)
    return 0


if __name__ == '__main__':
    sys.exit(main())
