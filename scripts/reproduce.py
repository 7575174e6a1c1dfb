"""The papers' tables by one command: `python scripts/reproduce.py --table=dien-1
--pair=duke2market --workdir=runs/tables --seeds=3`; see --help.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from jreid.tables.command import main

if __name__ == '__main__':
    sys.exit(main())
