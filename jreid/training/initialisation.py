"""Starts a fresh run from random numbers, a file of ImageNet weights, or another run."""

import json
import logging
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from jreid.methods.contract import Method, Params, State, Tree
from jreid.models.weights import loading
from jreid.models.weights.loading import SAME_ARRAYS
from jreid.run.checkpoints import CheckpointError, Checkpoints

log = logging.getLogger('jreid')


def initialise(
    method: Method,
    params: Params,
    state: State,
    *,
    backbone: str,
    weights: str,
    run: str,
    prefix: str = '',
) -> tuple[Params, State]:
    """Returns fresh parameters and statistics, with imported ones in their place.

    Args:
      backbone: name of the backbone, for the weight file's names.
      weights: a file of weights, 'package', or '' for random ones; see `load_weights`.
      run: folder of another run, or ''; it takes precedence over `weights`, see `from_run`.
      prefix: what stands before the names of the file's network, see `load_weights`.
    """
    if run:
        return from_run(run, method, params, state, backbone=backbone)
    if weights:
        return load_weights(weights, backbone, method, params, state, prefix=prefix)
    log.warning(
        '%s starts from random weights; model.weights names a file of ImageNet weights', backbone
    )
    return params, state


def from_run(
    workdir: str | pathlib.Path,
    method: Method,
    params: Params,
    state: State,
    *,
    backbone: str = '',
) -> tuple[Params, State]:
    """Takes parameters and statistics of another run's last checkpoint where path and shape agree.

    The other run may be of any system whose backbones have the same names: not of TJ-AIDL for the
    others, which have one. What it lacks of a second network it gives from its first
    (`Method.twins`). Arrays of it that are not used, and arrays here that stay fresh, are logged by
    name. `state.memory` stays as it is.

    Args:
      workdir: the other run's folder.
      method: this run's system; its backbones must be in the other run, whole.
      backbone: name of this run's backbone; '' to compare its arrays alone.

    Raises:
      FileNotFoundError: the folder holds no run.
      CheckpointError: the run has no checkpoint.
      ValueError: a backbone, or a parameter of one, is not in the run or has another shape. Also
        where the run has the other of two backbones with the same arrays (AlexNet and CaffeNet).
    """
    folder = pathlib.Path(workdir)
    if not (folder / 'checkpoints').is_dir():
        raise FileNotFoundError(
            f'init.run: {folder} holds no run; expected the --workdir of a run of jreid.main'
        )
    other = _backbone_of(folder)
    if {other, backbone} == set(SAME_ARRAYS):
        raise ValueError(
            f'init.run: {folder} has the backbone {other}, this run {backbone}: the same arrays of'
            ' another network; give both runs the same model.backbone'
        )
    checkpoints = Checkpoints(folder / 'checkpoints', read_only=True)
    restored = checkpoints.restore_model()
    checkpoints.close()
    if restored is None:
        raise CheckpointError(f'init.run: {folder} has no checkpoint yet')
    theirs = _flat(restored.tree['params'], restored.tree['state'].statistics)
    own = _flat(params, state.statistics)
    for path in own:
        twin = tuple(method.twins.get(name, name) if i < 3 else name for i, name in enumerate(path))
        if path not in theirs and twin in theirs:
            theirs[path] = theirs[twin]
    there = {path[1] for path in theirs if path[0] == 'params'}
    if absent := [name for name in method.backbones if name not in there]:
        raise ValueError(
            f"init.run: {folder} has no network '{absent[0]}', which {method.name} starts from; it"
            f' has {", ".join(sorted(there))}. Expected a run of this system, or of one whose'
            ' networks have the same names'
        )
    fitting = {
        path for path in own if path in theirs and jnp.shape(theirs[path]) == jnp.shape(own[path])
    }
    lacking = [
        path
        for path in sorted(own)
        if path[0] == 'params' and path[1] in method.backbones and path not in fitting
    ]
    if lacking:
        shape = jnp.shape(theirs[lacking[0]]) if lacking[0] in theirs else 'not there'
        raise ValueError(
            f'init.run: {len(lacking)} backbone parameters do not fit those of {folder}, e.g.'
            f' {"/".join(lacking[0])}: {jnp.shape(own[lacking[0]])} here, {shape} in the run; give'
            ' both runs the same model.backbone and model.options'
        )
    unused, fresh = set(theirs) - fitting, set(own) - fitting
    log.info(
        '%d arrays from checkpoint %d of %s; %d of the run not used, %d stay fresh',
        len(fitting),
        restored.number,
        folder,
        len(unused),
        len(fresh),
    )
    for message, paths in (('not used', unused), ('stays fresh', fresh)):
        for path in sorted(paths):
            log.info('  %s: %s', message, '/'.join(path))
    merged = {
        path: jnp.asarray(theirs[path], own[path].dtype) if path in fitting else own[path]
        for path in own
    }
    tree = traverse_util.unflatten_dict(merged)
    # A flat dictionary does not show empty statistics (a network without batch normalisation).
    statistics = {**state.statistics, **tree.get('statistics', {})}
    return tree['params'], state._replace(statistics=statistics)


def _backbone_of(folder: pathlib.Path) -> str:
    config = folder / 'config.json'
    return json.loads(config.read_text())['model']['backbone'] if config.is_file() else ''


def _flat(params: Params, statistics: Tree) -> dict[tuple[str, ...], Any]:
    return traverse_util.flatten_dict({'params': params, 'statistics': dict(statistics)})


def load_weights(
    weights: str, name: str, method: Method, params: Params, state: State, *, prefix: str = ''
) -> tuple[Params, State]:
    """Puts the weights of a file into every backbone of the method, for all domains.

    Args:
      weights: a file that `jreid.models.weights.loading` reads, or 'package' for those that an
        installed Python package carries.
      name: of the backbone.
      prefix: names one of several networks of the file, e.g. 'student.' or 'module.encoder_q.';
        '' for the usual ones.

    Raises:
      WeightsError: the file cannot be read, or a shape differs.
    """
    path = loading.default_weights(name) if weights == 'package' else weights
    statistics = dict(state.statistics)
    for part in method.backbones:
        # A network without batch normalisation has no statistics.
        first: Tree = next(iter(statistics.values()), {})
        variables = {'params': params[part], 'batch_stats': first.get(part, {})}
        loaded, report = loading.load_into(variables, path, backbone=name, prefix=prefix)
        params = {**params, part: loaded['params']}
        if own := loaded.get('batch_stats'):
            statistics = {
                domain: {**tree, part: jax.tree.map(jnp.asarray, own)} if part in tree else tree
                for domain, tree in statistics.items()
            }
    doubtful = report.unset or report.note
    log.log(logging.WARNING if doubtful else logging.INFO, 'weights: %s', report.summary())
    return params, state._replace(statistics=statistics)
