"""Keeps the door `python -m jreid.main --config=...`, which is `jreid train --config=...`."""

import sys

from jreid.commands import cli

if __name__ == '__main__':
    sys.argv.insert(1, 'train')
    sys.exit(cli.main())
