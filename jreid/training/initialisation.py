"""Where a fresh run's parameters come from: random numbers, a file of ImageNet weights, or
another run.
"""

import logging
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from jreid.methods.contract import Method, Tree
from jreid.run.checkpoints import CheckpointError, Checkpoints

log = logging.getLogger('jreid')


def parameters(
    config: ConfigDict, method: Method, params: Tree, model_state: Tree
) -> tuple[Tree, Tree]:
    """The fresh parameters and statistics with those put in that `config.init.run` or
    `config.model.weights` names.
    """
    if config.init.run:
        return from_run(config.init.run, method, params, model_state)
    if config.model.weights:
        return load_weights(
            config.model.weights, config.model.backbone, method, params, model_state
        )
    log.warning(
        '%s starts from random weights; model.weights names a file of ImageNet weights',
        config.model.backbone,
    )
    return params, model_state


def from_run(
    workdir: str | pathlib.Path, method: Method, params: Tree, model_state: Tree
) -> tuple[Tree, Tree]:
    """Parameters and statistics of another run's last checkpoint, of this or any other system,
    wherever path and shape agree.

    What is not used of the run and what stays fresh here is logged by name.

    Args:
      workdir: the other run's folder.
      method: this run's system; its backbones must be in the other run, whole.

    Raises:
      FileNotFoundError: the folder holds no run.
      CheckpointError: the run has no checkpoint.
      ValueError: a parameter of a backbone is not in the run, or has another shape there.
    """
    folder = pathlib.Path(workdir)
    if not (folder / 'checkpoints').is_dir():
        raise FileNotFoundError(
            f'init.run: {folder} holds no run; expected the --workdir of a run of jreid.main'
        )
    checkpoints = Checkpoints(folder / 'checkpoints', read_only=True)
    restored = checkpoints.restore_model()
    checkpoints.close()
    if restored is None:
        raise CheckpointError(f'init.run: {folder} has no checkpoint yet')
    found = _flat({'params': restored.tree['params'], 'model_state': restored.tree['model_state']})
    own = _flat({'params': params, 'model_state': model_state})
    fitting = {
        path for path in own if path in found and jnp.shape(found[path]) == jnp.shape(own[path])
    }
    lacking = [
        path
        for path in sorted(own)
        if path[0] == 'params' and path[1] in method.backbones and path not in fitting
    ]
    if lacking:
        there = jnp.shape(found[lacking[0]]) if lacking[0] in found else 'not there'
        raise ValueError(
            f'init.run: {len(lacking)} backbone parameters do not fit those of {folder}, e.g.'
            f' {"/".join(lacking[0])}: {jnp.shape(own[lacking[0]])} here, {there} in the run; give'
            ' both runs the same model.backbone and model.options'
        )
    log.info(
        '%d arrays from checkpoint %d of %s; %d of the run not used, %d stay fresh',
        len(fitting),
        restored.number,
        folder,
        len(found) - len(fitting),
        len(own) - len(fitting),
    )
    for told, paths in (('not used', set(found) - fitting), ('stays fresh', set(own) - fitting)):
        for path in sorted(paths):
            log.info('  %s: %s', told, '/'.join(path))
    merged = {
        path: jnp.asarray(found[path], own[path].dtype) if path in fitting else own[path]
        for path in own
    }
    tree = traverse_util.unflatten_dict(merged)
    # Statistics may be empty (a network without batch normalisation), which a flat dictionary does
    # not show.
    return tree['params'], {**model_state, **tree.get('model_state', {})}


def _flat(tree: Tree) -> dict[tuple[str, ...], Any]:
    return traverse_util.flatten_dict(tree)


def load_weights(
    weights: str, name: str, method: Method, params: Tree, model_state: Tree
) -> tuple[Tree, Tree]:
    """Parameters and statistics with those of the file put into every backbone of the method.

    Args:
      weights: a `.pth` or `.safetensors` file, or 'package' for those that an installed Python
        package carries.

    Raises:
      WeightsError: the file cannot be read, or a shape differs.
    """
    from jreid.models.weights import loading as pretrained

    path = pretrained.default_weights(name) if weights == 'package' else weights
    for part in method.backbones:
        # A network without batch normalisation has no statistics.
        variables = {
            'params': params[part],
            'batch_stats': next(iter(model_state.values())).get(part, {}),
        }
        loaded, report = pretrained.load_into(variables, path, backbone=name)
        params = {**params, part: loaded['params']}
        if statistics := loaded.get('batch_stats'):
            model_state = {
                domain: {**state, part: jax.tree.map(jnp.copy, statistics)}
                for domain, state in model_state.items()
            }
    log.log(logging.WARNING if report.unset else logging.INFO, 'weights: %s', report.summary())
    return params, model_state
