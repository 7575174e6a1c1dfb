"""`jreid convert IN OUT [--backbone NAME]`: converts weights to jreid's .safetensors."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from jreid.files import check_target, replacing
from jreid.models import BACKBONES
from jreid.models.weights.loading import (
    WeightsError,
    place_weights,
    read_weights,
    same_arrays_note,
)

DESCRIPTION = """Converts a weight file (.pth, .pb, .onnx, .caffemodel, .npz) to .safetensors.
With --backbone the names are the paths in the backbone's variables:

    jreid convert resnet50-0676ba61.pth resnet50.safetensors --backbone resnet50

Without --backbone the arrays keep the names and the layout of the file."""


def convert(source: str, target: str, *, backbone: str | None = None, prefix: str = '') -> str:
    """Writes `target` and returns a text of what was converted and what was left out.

    Args:
      source: file of weights, see `jreid.models.weights.loading.read_weights`.
      target: the .safetensors file.
      backbone: gives the arrays the names and the layout of this backbone's variables; None copies
        them as they are.
      prefix: use only arrays whose name begins with this.

    Raises:
      WeightsError: the file cannot be read, lacks a parameter of the backbone, or says that it is
        of another one. Also where `target` has another suffix or is the file itself, and for a ViT,
        whose arrays depend on the images.
    """
    if pathlib.Path(target).suffix != '.safetensors':
        raise WeightsError(f'{target}: the target must end in .safetensors')
    try:
        check_target(target, [source])
    except (OSError, ValueError) as error:
        raise WeightsError(str(error)) from error
    weights = read_weights(source, prefix)
    note = '' if backbone is None else same_arrays_note(source, backbone)
    if backbone is None:
        chosen = {k: np.ascontiguousarray(v) for k, v in weights.items() if k.startswith(prefix)}
        if not chosen:
            raise WeightsError(
                f'{source}: no name begins with {prefix!r}, e.g. {list(weights)[:3]}'
            )
        _write(chosen, target)
        return f'{source}: {len(chosen)} arrays copied'
    if backbone.startswith('vit'):
        raise WeightsError(
            f'{source}: the positions of {backbone} depend on the size of the images; leave'
            ' --backbone out, which keeps the names of the file, and they are resized when a run'
            ' reads them'
        )
    shapes = jax.eval_shape(
        BACKBONES[backbone].constructor(**BACKBONES[backbone].whole).init,
        jax.random.key(0),
        jnp.zeros((1, 224, 224, 3)),
    )
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))
    variables, report = place_weights(
        empty, weights, path=source, backbone=backbone, prefix=prefix, strict=True
    )
    flat = traverse_util.flatten_dict(variables, sep='/')
    arrays = {name: np.ascontiguousarray(array) for name, array in flat.items()}
    _write(arrays, target, {'backbone': backbone})
    return dataclasses.replace(report, note=note).summary()


def _write(
    arrays: Mapping[str, np.ndarray], target: str, metadata: dict[str, str] | None = None
) -> None:
    """Writes the file, whole or not at all."""
    with replacing(target) as temporary:
        save_file(dict(arrays), temporary, metadata=metadata)


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid convert') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN')
    parser.add_argument('target', metavar='OUT')
    parser.add_argument(
        '--backbone',
        choices=sorted(BACKBONES),
        help='backbone whose names the arrays get; every parameter must be in the file',
    )
    parser.add_argument(
        '--prefix', default='', help='use only names of the file that begin with this'
    )
    arguments = parser.parse_args(words)
    try:
        print(
            convert(
                arguments.source,
                arguments.target,
                backbone=arguments.backbone,
                prefix=arguments.prefix,
            )
        )
    except (WeightsError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
