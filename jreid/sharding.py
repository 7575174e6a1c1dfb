"""The device mesh and batches spread over it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jreid.methods.contract import Tree


def make_mesh() -> Mesh:
    """All devices on one axis, 'data'. Auto axes: the default, explicit ones, break pairwise losses."""
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """A copy of the tree on every device."""
    sharding = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x), np.shape(x)), tree)


def local_columns(mesh: Mesh, batch: int) -> slice:
    """The columns of a plan [steps, batch] that this process loads.

    Raises:
      ValueError: the batch does not divide over the devices.
    """
    if batch % mesh.size:
        raise ValueError(f'a batch of {batch} images does not divide over {mesh.size} devices; choose a multiple of {mesh.size}')
    share = batch // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def spread(mesh: Mesh, tree: Tree) -> Tree:
    """Process-local arrays [B / processes, ...] as global arrays [B, ...] split over the devices."""
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def local(tree: Tree) -> Tree:
    """Replicated arrays as numpy on this host."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)) if isinstance(x, jax.Array) and not x.is_fully_addressable else np.asarray(x), tree)


def gathered(array: jax.Array) -> np.ndarray:
    """A global array, whole, as numpy on every host."""
    if array.is_fully_addressable:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
