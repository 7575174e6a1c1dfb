"""A weight file as jreid's .safetensors: `python scripts/convert_weights.py IN OUT [--backbone
NAME]`; the same as `jreid convert`.
"""

import sys

from jreid.commands.convert import convert, main

__all__ = ['convert', 'main']

if __name__ == '__main__':
    sys.exit(main())
