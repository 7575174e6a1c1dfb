"""Runs the commands whose flags absl parses in the tests' own process, and puts the flags back."""

import contextlib
import sys
import warnings

from absl import app, flags
from absl.testing import flagsaver

from jreid.commands import console, train


@contextlib.contextmanager
def kept():
    """Puts absl's flags back to what they were, those of a config's fields included."""
    parsed = flags.FLAGS.is_parsed()
    with flagsaver.flagsaver():
        try:
            yield
        finally:
            if not parsed:
                flags.FLAGS.unparse_flags()


def run(command, monkeypatch, *words):
    """Runs `command.run` with these words; absl's part, once per process, is left out.

    Returns:
      The status, and the message of an end with one.
    """
    monkeypatch.setattr(app, 'run', lambda main, argv, flags_parser: main(flags_parser(argv)))
    monkeypatch.setattr(sys, 'argv', sys.argv)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(train, '_OPTIONS', {})
    for name in ('show_log', 'show_training_log'):
        monkeypatch.setattr(console, name, lambda: None)
    with kept(), warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*load_module', DeprecationWarning)  # of ml_collections
        try:
            command.run(['jreid', *map(str, words)])
        except SystemExit as end:
            return end.code
    return 0
