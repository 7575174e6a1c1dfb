"""Converts a weight file (.pth, .safetensors, or .pb) to jreid's .safetensors, whose names are the
paths in the backbone's variables.

    jreid convert resnet50-0676ba61.pth resnet50.safetensors --backbone resnet50

Without --backbone the arrays are copied under the names and in the layout of the file: a plain .pth
to .safetensors conversion.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from jreid.models import BACKBONES
from jreid.models.weights.loading import WeightsError, place_weights, read_weights


def convert(source: str, target: str, *, backbone: str | None = None, prefix: str = '') -> str:
    """Writes `target` and returns what was converted and what was left out, as text."""
    if pathlib.Path(target).suffix != '.safetensors':
        raise WeightsError(f'{target}: the target must end in .safetensors')
    weights = read_weights(source)
    if backbone is None:
        save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, target)
        return f'{source}: {len(weights)} arrays copied'
    shapes = jax.eval_shape(
        BACKBONES[backbone].constructor().init, jax.random.key(0), jnp.zeros((1, 224, 224, 3))
    )
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))
    variables, report = place_weights(
        empty, weights, path=source, backbone=backbone, prefix=prefix, strict=True
    )
    flat = traverse_util.flatten_dict(variables, sep='/')
    save_file(
        {name: np.ascontiguousarray(array) for name, array in flat.items()},
        target,
        metadata={'backbone': backbone},
    )
    return report.summary()


def main(
    arguments: Sequence[str] | None = None, *, prog: str = 'python -m jreid.commands.convert'
) -> int:
    """The command line; 0 when the file was written."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN')
    parser.add_argument('target', metavar='OUT')
    parser.add_argument(
        '--backbone',
        choices=sorted(BACKBONES),
        help='whose names to give the arrays; every parameter must be in the file',
    )
    parser.add_argument(
        '--prefix', default='', help='use only names of the file that begin with this'
    )
    options = parser.parse_args(arguments)
    try:
        print(
            convert(
                options.source, options.target, backbone=options.backbone, prefix=options.prefix
            )
        )
    except (WeightsError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
