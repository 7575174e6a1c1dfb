"""Runs the rows of the papers' tables from a checkout; the same as `jreid reproduce`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from jreid.tables.command import main

if __name__ == '__main__':
    sys.exit(main(prog='python scripts/reproduce.py'))
